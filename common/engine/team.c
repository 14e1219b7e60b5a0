#include "common/engine/team.h"

#include "common/base/error.h"

#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdlib.h>

struct job {
    team_fn run; /* NULL: nobody may join any more */
    void *user;
    size_t items, piece;
};

struct member {
    struct team *team;
    pthread_t thread;
    uint32_t index;
};

struct team {
    pthread_mutex_t lock; /* of all but `next` */
    pthread_cond_t wake, idle;
    struct job job;
    atomic_size_t next; /* first item that nobody has taken */
    uint64_t jobs;      /* so far: how a member tells a new one */
    uint32_t working;   /* members inside the job, without the caller */
    bool stop;
    uint32_t count; /* members with a thread of their own */
    struct member members[];
};

static void pieces_do(struct team *team, const struct job *job, uint32_t member)
{
    for (;;) {
        const size_t from = atomic_fetch_add(&team->next, job->piece);

        if (from >= job->items) {
            return;
        }
        job->run(job->user, member, from,
                 job->items - from < job->piece ? job->items : from + job->piece);
    }
}

static void *member_main(void *argument)
{
    const struct member *member = argument;
    struct team *team = member->team;
    uint64_t seen = 0;

    pthread_mutex_lock(&team->lock);
    while (!team->stop) {
        if (team->jobs == seen || !team->job.run) {
            seen = team->jobs;
            pthread_cond_wait(&team->wake, &team->lock);
            continue;
        }
        const struct job job = team->job;

        seen = team->jobs;
        team->working++;
        pthread_mutex_unlock(&team->lock);
        pieces_do(team, &job, member->index);
        pthread_mutex_lock(&team->lock);
        if (--team->working == 0) {
            pthread_cond_signal(&team->idle);
        }
    }
    pthread_mutex_unlock(&team->lock);
    return NULL;
}

static int members_start(struct team *team, uint32_t wanted)
{
    sigset_t masked, before;
    int failed = 0;

    sigfillset(&masked);
    sigdelset(&masked, SIGBUS); /* a model file that shrinks is handled where it is read */
    sigdelset(&masked, SIGSEGV);
    sigdelset(&masked, SIGFPE);
    sigdelset(&masked, SIGILL);
    pthread_sigmask(SIG_SETMASK, &masked, &before);
    while (team->count < wanted && !failed) {
        struct member *member = &team->members[team->count];

        *member = (struct member){.team = team, .index = team->count + 1};
        failed = pthread_create(&member->thread, NULL, member_main, member);
        team->count += !failed;
    }
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return failed;
}

int team_new(uint32_t members, struct team **ret_team)
{
    struct team *team = calloc(1, sizeof(*team) + (members - 1) * sizeof(team->members[0]));

    if (!team) {
        return TANDEM_ENOMEM;
    }
    pthread_mutex_init(&team->lock, NULL);
    pthread_cond_init(&team->wake, NULL);
    pthread_cond_init(&team->idle, NULL);
    if (members_start(team, members - 1) != 0) {
        team_free(team);
        return TANDEM_ENOMEM;
    }
    *ret_team = team;
    return 0;
}

void team_free(struct team *team)
{
    if (!team) {
        return;
    }
    pthread_mutex_lock(&team->lock);
    team->stop = true;
    pthread_cond_broadcast(&team->wake);
    pthread_mutex_unlock(&team->lock);
    for (uint32_t i = 0; i < team->count; i++) {
        pthread_join(team->members[i].thread, NULL);
    }
    pthread_cond_destroy(&team->idle);
    pthread_cond_destroy(&team->wake);
    pthread_mutex_destroy(&team->lock);
    free(team);
}

void team_run(struct team *team, size_t items, size_t piece, team_fn run, void *user)
{
    const struct job job = {run, user, items, piece};

    if (!team || items <= piece) {
        for (size_t from = 0; from < items; from += piece) {
            run(user, 0, from, items - from < piece ? items : from + piece);
        }
        return;
    }
    pthread_mutex_lock(&team->lock);
    team->job = job;
    team->jobs++;
    atomic_store(&team->next, 0);
    pthread_cond_broadcast(&team->wake);
    pthread_mutex_unlock(&team->lock);
    pieces_do(team, &job, 0);
    pthread_mutex_lock(&team->lock);
    team->job.run = NULL; /* who wakes only now finds nothing to do */
    while (team->working > 0) {
        pthread_cond_wait(&team->idle, &team->lock);
    }
    pthread_mutex_unlock(&team->lock);
}
