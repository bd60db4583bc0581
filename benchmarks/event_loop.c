/* Event loop: queueing systems simulated in plain C, the yardstick for what a compiled loop can do.
 *
 *     cc -O3 -march=native -shared -fPIC event_loop.c -o event_loop.so -lm
 *
 * Each function serves `requests` requests that arrive as a Poisson stream, draws its random numbers as it
 * goes, writes the response time of every request to `response_s`, in order of arrival, and returns their
 * mean; NAN where memory is short or an argument has no meaning. Times are in seconds.
 *
 * Source of the generator: Blackman & Vigna (2021), ACM Trans. Mathematical Software 47(4), "Scrambled linear
 * pseudorandom number generators", xoshiro256+; seeded by splitmix64 as they recommend: Steele, Lea & Flood
 * (2014), OOPSLA, "Fast splittable pseudorandom number generators".
 */

#include <math.h>
#include <stdint.h>
#include <stdlib.h>

#define ALWAYS_INLINE static inline __attribute__((always_inline))

/* ---- random numbers ---- */

typedef struct {
    uint64_t s[4];
} Random;

static Random seeded(uint64_t seed) {
    Random random;
    for (int i = 0; i < 4; i++) {
        uint64_t z = (seed += UINT64_C(0x9e3779b97f4a7c15));
        z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
        z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
        random.s[i] = z ^ (z >> 31);
    }
    return random;
}

ALWAYS_INLINE uint64_t bits(Random *random) {
    uint64_t *s = random->s;
    const uint64_t sum = s[0] + s[3], shifted = s[1] << 17;
    s[2] ^= s[0];
    s[3] ^= s[1];
    s[1] ^= s[2];
    s[0] ^= s[3];
    s[2] ^= shifted;
    s[3] = (s[3] << 45) | (s[3] >> 19);
    return sum;
}

/* Of mean 1; the upper 53 bits make a number in (0, 1], whose logarithm is finite. */
ALWAYS_INLINE double exponential(Random *random) {
    return -log((double)((bits(random) >> 11) + 1) * 0x1p-53);
}

/* ---- M/M/c ---- */

/* One shared queue, FCFS: a binary heap holds when each server is free; the top serves who comes next.
 * An infinity beyond the servers gives each parent two children to compare. */
ALWAYS_INLINE double serve_mmc(double *response_s, int64_t requests, Random random, double gap_mean_s,
                               double service_mean_s, int servers, double *free_s) {
    double now_s = 0.0, sum_s = 0.0;
    for (int k = 0; k <= servers; k++) free_s[k] = k < servers ? 0.0 : INFINITY;
    for (int64_t i = 0; i < requests; i++) {
        now_s += gap_mean_s * exponential(&random);
        const double start_s = free_s[0] > now_s ? free_s[0] : now_s;
        const double finish_s = start_s + service_mean_s * exponential(&random);
        int hole = 0, child;
        while ((child = 2 * hole + 1) < servers) {
            child += free_s[child + 1] < free_s[child];
            if (free_s[child] >= finish_s) break;
            free_s[hole] = free_s[child];
            hole = child;
        }
        free_s[hole] = finish_s;
        response_s[i] = finish_s - now_s;
        sum_s += finish_s - now_s;
    }
    return sum_s / (double)requests;
}

double mmc(double *response_s, int64_t requests, uint64_t seed, double gap_mean_s, double service_mean_s,
           int servers) {
    if (requests < 1 || servers < 1) return NAN;
    double *free_s = malloc(((size_t)servers + 1) * sizeof *free_s);
    if (!free_s) return NAN;
    const Random random = seeded(seed);
    const double mean_s =
        servers == 8 ? serve_mmc(response_s, requests, random, gap_mean_s, service_mean_s, 8, free_s)
                     : serve_mmc(response_s, requests, random, gap_mean_s, service_mean_s, servers, free_s);
    free(free_s);
    return mean_s;
}

/* The same without a heap, which few servers do not need: the instants in order, the first taken out and the
 * new one put in by one pass of minima and maxima, without a branch. Kiefer & Wolfowitz (1955). */
ALWAYS_INLINE double serve_sorted(double *response_s, int64_t requests, Random random, double gap_mean_s,
                                  double service_mean_s, int servers, double *free_s) {
    double now_s = 0.0, sum_s = 0.0;
    for (int k = 0; k <= servers; k++) free_s[k] = k < servers ? 0.0 : INFINITY;
    for (int64_t i = 0; i < requests; i++) {
        now_s += gap_mean_s * exponential(&random);
        const double start_s = free_s[0] > now_s ? free_s[0] : now_s;
        const double finish_s = start_s + service_mean_s * exponential(&random);
        for (int k = 0; k < servers; k++) {
            const double later_s = free_s[k] > finish_s ? free_s[k] : finish_s;
            free_s[k] = later_s < free_s[k + 1] ? later_s : free_s[k + 1];
        }
        response_s[i] = finish_s - now_s;
        sum_s += finish_s - now_s;
    }
    return sum_s / (double)requests;
}

double mmc_sorted(double *response_s, int64_t requests, uint64_t seed, double gap_mean_s,
                  double service_mean_s, int servers) {
    if (requests < 1 || servers < 1) return NAN;
    double *free_s = malloc(((size_t)servers + 1) * sizeof *free_s);
    if (!free_s) return NAN;
    const Random random = seeded(seed);
    const double mean_s =
        servers == 8 ? serve_sorted(response_s, requests, random, gap_mean_s, service_mean_s, 8, free_s)
                     : serve_sorted(response_s, requests, random, gap_mean_s, service_mean_s, servers, free_s);
    free(free_s);
    return mean_s;
}

/* ---- batches from one shared queue ---- */

ALWAYS_INLINE int earliest(const double *instants_s, int count) {
    int first = 0;
    for (int k = 1; k < count; k++) first = instants_s[k] < instants_s[first] ? k : first;
    return first;
}

/* A free server starts a batch as soon as `size_max` requests wait or the oldest has waited `wait_max_s`.
 * `batch_s[b]` is how long a batch of b takes. At one instant: completions, arrivals, timers. Who waits is
 * the stretch from `oldest` to `arrived`, whose arrivals stand in `response_s` until they are served. */
double batches(double *response_s, int64_t requests, uint64_t seed, double gap_mean_s, const double *batch_s,
               int size_max, double wait_max_s, int servers) {
    if (requests < 1 || servers < 1 || size_max < 1) return NAN;
    double *finish_s = malloc((size_t)servers * sizeof *finish_s); /* infinity: the server is free */
    if (!finish_s) return NAN;
    Random random = seeded(seed);
    int idle = servers;
    int64_t oldest = 0, arrived = 0;
    double next_arrival_s = gap_mean_s * exponential(&random), sum_s = 0.0;
    double next_finish_s = INFINITY, timer_s = INFINITY, now_s;
    for (int k = 0; k < servers; k++) finish_s[k] = INFINITY;
    while (oldest < requests) {
        if (next_arrival_s < next_finish_s && next_arrival_s <= timer_s) {
            now_s = response_s[arrived++] = next_arrival_s;
            next_arrival_s = arrived < requests ? now_s + gap_mean_s * exponential(&random) : INFINITY;
            if (!idle) continue;
        } else if (next_finish_s <= timer_s) {
            now_s = next_finish_s;
            finish_s[earliest(finish_s, servers)] = INFINITY;
            next_finish_s = finish_s[earliest(finish_s, servers)];
            idle++;
        } else {
            now_s = timer_s;
        }
        timer_s = INFINITY;
        while (idle && oldest < arrived) {
            int64_t size = arrived - oldest;
            const double due_s = response_s[oldest] + wait_max_s;
            if (size < size_max && now_s < due_s) {
                timer_s = due_s;
                break;
            }
            if (size > size_max) size = size_max;
            const double done_s = now_s + batch_s[size];
            int server = 0;
            while (finish_s[server] != INFINITY) server++;
            finish_s[server] = done_s;
            if (done_s < next_finish_s) next_finish_s = done_s;
            idle--;
            for (const int64_t end = oldest + size; oldest < end; oldest++)
                sum_s += response_s[oldest] = done_s - response_s[oldest];
        }
    }
    free(finish_s);
    return sum_s / (double)requests;
}

/* ---- a queue at each replica ---- */

enum { REPLICAS_MAX = 64, LEAST_OUTSTANDING = 0, POWER_OF_TWO = 1 };

/* Finishing times of those at one replica, oldest first: a ring whose size is a power of two. */
typedef struct {
    double *finish_s;
    uint32_t mask, head, tail;
} Ring;

static int doubled(Ring *ring) {
    const uint32_t size = ring->mask + 1;
    double *finish_s = malloc(2 * (size_t)size * sizeof *finish_s);
    if (!finish_s) return 0;
    for (uint32_t k = ring->head; k != ring->tail; k++)
        finish_s[k & (2 * size - 1)] = ring->finish_s[k & ring->mask];
    free(ring->finish_s);
    ring->finish_s = finish_s;
    ring->mask = 2 * size - 1;
    return 1;
}

typedef struct {
    double next_s[REPLICAS_MAX];   /* next completion; infinity where nobody is */
    double last_s[REPLICAS_MAX];   /* when all that were sent there are done */
    uint32_t ranked[REPLICAS_MAX]; /* outstanding * REPLICAS_MAX + replica: no two are equal */
    Ring rings[REPLICAS_MAX];
} Fleet;

/* What has finished by now leaves. Replicas do not meet between two arrivals, so that one sweep over all
 * replaces the search for the earliest completion; vector units compare many at a time. */
ALWAYS_INLINE void complete(Fleet *fleet, double now_s, int replicas) {
    for (;;) {
        uint64_t due = 0;
        for (int k = 0; k < replicas; k++) due |= (uint64_t)(fleet->next_s[k] <= now_s) << k;
        if (!due) return;
        for (; due; due &= due - 1) {
            const int k = __builtin_ctzll(due);
            Ring *ring = &fleet->rings[k];
            fleet->ranked[k] -= REPLICAS_MAX;
            ring->head++;
            fleet->next_s[k] = ring->head != ring->tail ? ring->finish_s[ring->head & ring->mask] : INFINITY;
        }
    }
}

/* Least outstanding of all or of two different ones drawn; ties go to the lowest index. */
ALWAYS_INLINE int routed(const Fleet *fleet, Random *random, int replicas, int routing) {
    const uint32_t *ranked = fleet->ranked;
    uint32_t best = ranked[0];
    if (routing == POWER_OF_TWO) {
        const uint64_t drawn = bits(random);
        const uint32_t first = (uint32_t)(((drawn >> 32) * (uint64_t)replicas) >> 32);
        const uint32_t step = (uint32_t)(((drawn & 0xffffffffu) * (uint64_t)(replicas - 1)) >> 32);
        const uint32_t after = first + 1 + step;
        const uint32_t second = after < (uint32_t)replicas ? after : after - (uint32_t)replicas;
        best = ranked[first] < ranked[second] ? ranked[first] : ranked[second];
    } else {
        for (int k = 1; k < replicas; k++) best = ranked[k] < best ? ranked[k] : best;
    }
    return (int)(best % REPLICAS_MAX);
}

ALWAYS_INLINE double serve_own(double *response_s, int64_t requests, Random random, double gap_mean_s,
                               double service_mean_s, int replicas, int routing, Fleet *fleet) {
    double now_s = 0.0, sum_s = 0.0;
    for (int64_t i = 0; i < requests; i++) {
        now_s += gap_mean_s * exponential(&random);
        complete(fleet, now_s, replicas);
        const int k = routed(fleet, &random, replicas, routing);
        Ring *ring = &fleet->rings[k];
        const double start_s = fleet->last_s[k] > now_s ? fleet->last_s[k] : now_s;
        const double finish_s = start_s + service_mean_s * exponential(&random);
        if (ring->tail - ring->head > ring->mask && !doubled(ring)) return NAN;
        if (ring->tail == ring->head) fleet->next_s[k] = finish_s;
        ring->finish_s[ring->tail++ & ring->mask] = finish_s;
        fleet->last_s[k] = finish_s;
        fleet->ranked[k] += REPLICAS_MAX;
        response_s[i] = finish_s - now_s;
        sum_s += finish_s - now_s;
    }
    return sum_s / (double)requests;
}

double own_queues(double *response_s, int64_t requests, uint64_t seed, double gap_mean_s,
                  double service_mean_s, int replicas, int routing) {
    static const uint32_t room = 64;
    if (requests < 1 || replicas < 1 + (routing == POWER_OF_TWO) || replicas > REPLICAS_MAX) return NAN;
    Fleet fleet = {.ranked = {0}};
    double mean_s = NAN;
    int ready = 1;
    for (int k = 0; k < replicas; k++) {
        fleet.next_s[k] = INFINITY;
        fleet.ranked[k] = (uint32_t)k;
        fleet.rings[k] = (Ring){.finish_s = malloc(room * sizeof(double)), .mask = room - 1};
        ready &= fleet.rings[k].finish_s != NULL;
    }
#define SERVE(count, rule) \
    serve_own(response_s, requests, seeded(seed), gap_mean_s, service_mean_s, count, rule, &fleet)
    if (ready && replicas == 16) mean_s = routing == POWER_OF_TWO ? SERVE(16, 1) : SERVE(16, 0);
    else if (ready) mean_s = SERVE(replicas, routing);
    for (int k = 0; k < replicas; k++) free(fleet.rings[k].finish_s);
    return mean_s;
}
