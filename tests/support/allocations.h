/* allocations.h: counts what a test program allocates. The allocator's names are taken over in the
 * program that includes this (once); the sanitizers need them for themselves, so there is nothing
 * to count under them and ALLOCATIONS_COUNTED is 0. Include it after cmocka.h. */
#ifndef TANDEM_TESTS_ALLOCATIONS_H
#define TANDEM_TESTS_ALLOCATIONS_H

#include <stdatomic.h>
#include <stddef.h>
#include <stdlib.h>

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define ALLOCATIONS_COUNTED 0
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define ALLOCATIONS_COUNTED 0
#endif
#endif
#ifndef ALLOCATIONS_COUNTED
#define ALLOCATIONS_COUNTED 1
#endif

static atomic_uint allocations;

#if ALLOCATIONS_COUNTED
void *__libc_malloc(size_t bytes);
void *__libc_calloc(size_t count, size_t bytes);
void *__libc_realloc(void *memory, size_t bytes);
void *__libc_memalign(size_t alignment, size_t bytes);

void *malloc(size_t bytes)
{
    atomic_fetch_add(&allocations, 1);
    return __libc_malloc(bytes);
}

void *calloc(size_t count, size_t bytes)
{
    atomic_fetch_add(&allocations, 1);
    return __libc_calloc(count, bytes);
}

void *realloc(void *memory, size_t bytes)
{
    atomic_fetch_add(&allocations, 1);
    return __libc_realloc(memory, bytes);
}

void *aligned_alloc(size_t alignment, size_t bytes)
{
    atomic_fetch_add(&allocations, 1);
    return __libc_memalign(alignment, bytes);
}

int posix_memalign(void **memory, size_t alignment, size_t bytes)
{
    atomic_fetch_add(&allocations, 1);
    *memory = __libc_memalign(alignment, bytes);
    return *memory ? 0 : 12;
}
#endif

/* The first thing a test that counts does: an allocation is seen; else it is skipped. */
static inline void allocations_check(void)
{
    const unsigned before = atomic_load(&allocations);
    void *volatile memory = malloc(1);

    free(memory);
    if (!ALLOCATIONS_COUNTED) {
        skip();
    }
    assert_int_equal(atomic_load(&allocations), before + 1);
}

#endif
