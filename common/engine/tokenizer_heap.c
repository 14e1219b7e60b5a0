/* tokenizer_heap.c: the pairs that wait to be merged, smallest entry first. */
#include "common/engine/tokenizer_parts.h"

void entry_heap_push(uint64_t *heap, size_t *count, uint64_t entry)
{
    size_t at = (*count)++;

    while (at > 0 && heap[(at - 1) / 2] > entry) {
        heap[at] = heap[(at - 1) / 2];
        at = (at - 1) / 2;
    }
    heap[at] = entry;
}

uint64_t entry_heap_pop(uint64_t *heap, size_t *count)
{
    const uint64_t top = heap[0], moved = heap[--*count];
    size_t at = 0;

    for (;;) {
        size_t child = 2 * at + 1;

        if (child + 1 < *count && heap[child + 1] < heap[child]) {
            child++;
        }
        if (child >= *count || heap[child] >= moved) {
            break;
        }
        heap[at] = heap[child];
        at = child;
    }
    heap[at] = moved;
    return top;
}
