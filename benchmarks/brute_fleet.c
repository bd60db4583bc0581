/* Brute fleet: a fleet of batching replicas, event by event, as CONTRIBUTING.md ("Semantics of batching") has it.
 *
 *     cc -O3 -march=native -shared -fPIC brute_fleet.c -o brute_fleet.so -lm
 *
 * It shares nothing with the simulator of the project, which it is there to check: written from the
 * text, not from the code. `fleet_run` serves one stream of requests that begins at an empty fleet, and counts
 * what became of requests number `warm_up` to `warm_up + counted - 1`. Times are in seconds.
 *
 * Sources: Steele, Lea & Flood (2014), OOPSLA, "Fast splittable pseudorandom number generators" (splitmix64);
 * Marsaglia & Tsang (2000), ACM Trans. Mathematical Software 26(3), 363-372 (gamma numbers).
 */

#include <math.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>

enum { ROUND_ROBIN, RANDOM, LEAST_OUTSTANDING, POWER_OF_TWO, SHARED_QUEUE };
enum { POISSON, GAMMA, EQUAL_GAPS, BURSTS };
enum { STEPS, LINES, EXPONENTIAL };
enum { OLDEST, OPEN };

typedef struct {
    /* plan */
    int32_t replicas, batch_size_max, routing, timer;
    int64_t queue_limit; /* below 0: none */
    double batch_wait_max_s;
    /* arrivals */
    int32_t arrivals;
    double rate_rps, gap_cv;
    double phase_rps[2], phase_mean_s[2]; /* of bursts and of the calm between them */
    /* service: laws of the measured sizes, one after another in `u` and `x_s`, from law_begin[i] to law_begin[i + 1];
     * a batch of b lies at the law place[b] and a share weight[b] of the way to the next */
    int32_t law_kind;
    const int64_t *law_begin;
    const double *u, *x_s;
    const int32_t *place;
    const double *weight;
    double batch_work_s, request_work_s, wake_s, overhead_s;
} Fleet;

typedef struct {
    int64_t arrived, lost;
    double batches, response_sum_s, wait_sum_s, busy_s, window_s;
} Counts;

/* [i] of counts: requests whose time lies above exactly i of the rising thresholds. */
typedef struct {
    int32_t thresholds;
    const double *thresholds_s;
    int64_t *counts;
} Histogram;

typedef struct {
    double arrival_s;
    int64_t number;
} Request;

typedef struct {
    Request *ring;
    int64_t head, length, room; /* room is a power of two */
    double last_end_s;          /* of a batch of this queue; below 0: none has ended */
    double open_s;              /* since when a free replica has looked at this queue */
} Queue;

typedef struct {
    const Fleet *fleet;
    int64_t first, last; /* counted are numbers in [first, last) */
    int64_t to_serve;    /* counted and neither served nor lost */
    Queue *queues;
    bool *busy;
    int64_t *outstanding, *in_service; /* requests of a replica; those of them in its batch */
    int32_t free_replicas;
    /* a knock-out tournament: leaf r is what happens next at replica r (the end of its batch, or the time at
     * which the batch of its own queue is due), the root the earliest of all, the lowest replica at ties */
    int32_t leaves;
    double *next_s;
    int32_t *winner;
    double shared_due_s;
    uint64_t random_arrival, random_service, random_route;
    int32_t phase;
    double phase_left_s;
    int32_t turn;
    Counts *counts;
    const Histogram *responses, *waits;
    bool failed;
} Run;

/* ---- random numbers ---- */

static inline uint64_t bits(uint64_t *state) {
    uint64_t z = (*state += UINT64_C(0x9e3779b97f4a7c15));
    z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
    return z ^ (z >> 31);
}

/* In (0, 1). */
static inline double uniform(uint64_t *state) { return ((double)(bits(state) >> 12) + 0.5) * 0x1p-52; }

static inline double exponential(uint64_t *state) { return -log(uniform(state)); }

static double normal(uint64_t *state) {
    return sqrt(-2.0 * log(uniform(state))) * cos(6.283185307179586 * uniform(state));
}

/* Gamma of any shape, scale 1. */
static double gamma_number(uint64_t *state, double shape) {
    if (shape < 1.0) {
        const double larger = gamma_number(state, shape + 1.0);
        return larger * pow(uniform(state), 1.0 / shape);
    }
    const double d = shape - 1.0 / 3.0, c = 1.0 / sqrt(9.0 * d);
    for (;;) {
        const double z = normal(state), root = 1.0 + c * z;
        if (root <= 0.0) continue;
        const double v = root * root * root;
        if (log(uniform(state)) < 0.5 * z * z + d - d * v + d * log(v)) return d * v;
    }
}

static inline int32_t below(uint64_t *state, int32_t limit) {
    return (int32_t)(((bits(state) >> 32) * (uint64_t)limit) >> 32);
}

/* Poisson arrivals forget: where a phase ends before the next one comes, it is drawn anew at the other rate. */
static double gap_in_bursts_s(Run *run) {
    const Fleet *fleet = run->fleet;
    double passed_s = 0.0;
    for (;;) {
        const double gap = exponential(&run->random_arrival) / fleet->phase_rps[run->phase];
        if (gap <= run->phase_left_s) {
            run->phase_left_s -= gap;
            return passed_s + gap;
        }
        passed_s += run->phase_left_s;
        run->phase = 1 - run->phase;
        run->phase_left_s = exponential(&run->random_arrival) * fleet->phase_mean_s[run->phase];
    }
}

static double gap_s(Run *run) {
    const Fleet *fleet = run->fleet;
    if (fleet->arrivals == BURSTS) return gap_in_bursts_s(run);
    if (fleet->arrivals == POISSON) return exponential(&run->random_arrival) / fleet->rate_rps;
    if (fleet->arrivals == EQUAL_GAPS) return 1.0 / fleet->rate_rps;
    const double shape = 1.0 / (fleet->gap_cv * fleet->gap_cv);
    return gamma_number(&run->random_arrival, shape) / (shape * fleet->rate_rps);
}

/* ---- service ---- */

/* The quantile at p of one measured size. */
static double quantile_s(const Fleet *fleet, int32_t law, double p) {
    const int64_t begin = fleet->law_begin[law], count = fleet->law_begin[law + 1] - begin;
    const double *x_s = fleet->x_s + begin;
    if (fleet->law_kind == EXPONENTIAL) return -x_s[0] * log(p);
    if (fleet->law_kind == STEPS) return x_s[(int64_t)(p * (double)count)];
    const double *u = fleet->u + begin;
    int64_t right = 1;
    while (right < count - 1 && u[right] < p) right++;
    return x_s[right - 1] + (x_s[right] - x_s[right - 1]) * ((p - u[right - 1]) / (u[right] - u[right - 1]));
}

static double service_s(Run *run, int64_t size) {
    const Fleet *fleet = run->fleet;
    const double p = uniform(&run->random_service), weight = fleet->weight[size];
    double time_s = quantile_s(fleet, fleet->place[size], p);
    if (weight > 0.0) time_s = (1.0 - weight) * time_s + weight * quantile_s(fleet, fleet->place[size] + 1, p);
    return time_s + fleet->batch_work_s + (double)size * fleet->request_work_s;
}

/* ---- what happens next ---- */

static void happens(Run *run, int32_t replica, double at_s) {
    run->next_s[replica] = at_s;
    for (int32_t node = (run->leaves + replica) / 2; node >= 1; node /= 2) {
        const int32_t left = run->winner[2 * node], right = run->winner[2 * node + 1];
        run->winner[node] = run->next_s[right] < run->next_s[left] ? right : left;
    }
}

static inline Queue *queue_of(Run *run, int32_t replica) {
    return &run->queues[run->fleet->routing == SHARED_QUEUE ? 0 : replica];
}

/* ---- queues ---- */

static void push(Run *run, Queue *queue, Request request) {
    if (queue->length == queue->room) {
        Request *larger = malloc((size_t)(2 * queue->room) * sizeof(Request));
        if (larger == NULL) {
            run->failed = true;
            return;
        }
        for (int64_t i = 0; i < queue->length; i++) larger[i] = queue->ring[(queue->head + i) & (queue->room - 1)];
        free(queue->ring);
        queue->ring = larger;
        queue->head = 0;
        queue->room *= 2;
    }
    queue->ring[(queue->head + queue->length++) & (queue->room - 1)] = request;
}

static inline Request pop(Queue *queue) {
    const Request request = queue->ring[queue->head];
    queue->head = (queue->head + 1) & (queue->room - 1);
    queue->length--;
    return request;
}

static inline void count(const Histogram *histogram, double time_s) {
    int32_t above = 0;
    for (int32_t i = 0; i < histogram->thresholds; i++) above += time_s > histogram->thresholds_s[i];
    histogram->counts[above]++;
}

/* ---- batches ---- */

/* When the batch that waits in a queue is due before a free replica, if nobody comes. */
static double due_s(const Run *run, const Queue *queue) {
    const double oldest_s = queue->ring[queue->head].arrival_s;
    const double since_s = run->fleet->timer == OLDEST ? oldest_s : fmax(oldest_s, queue->open_s);
    return since_s + run->fleet->batch_wait_max_s;
}

static void start(Run *run, int32_t replica, double now_s) {
    const Fleet *fleet = run->fleet;
    Queue *queue = queue_of(run, replica);
    const int64_t size = queue->length < fleet->batch_size_max ? queue->length : fleet->batch_size_max;
    double time_s = service_s(run, size);
    if (queue->last_end_s < 0.0 || now_s > queue->last_end_s) time_s += fleet->wake_s;
    const double end_s = now_s + time_s;
    Counts *counts = run->counts;
    for (int64_t i = 0; i < size; i++) {
        const Request request = pop(queue);
        if (request.number < run->first || request.number >= run->last) continue;
        const double wait_s = now_s - request.arrival_s, response_s = end_s - request.arrival_s + fleet->overhead_s;
        counts->wait_sum_s += wait_s;
        counts->response_sum_s += response_s;
        count(run->waits, wait_s);
        count(run->responses, response_s);
        counts->batches += 1.0 / (double)size; /* the share of this request */
        counts->busy_s += time_s / (double)size;
        run->to_serve--;
    }
    run->busy[replica] = true;
    run->in_service[replica] = size;
    run->free_replicas--;
    happens(run, replica, end_s);
}

/* What a free replica does at `now_s`: starts a batch, or waits for the timer. */
static void look(Run *run, int32_t replica, double now_s) {
    Queue *queue = queue_of(run, replica);
    const bool shared = run->fleet->routing == SHARED_QUEUE;
    double due = INFINITY;
    if (queue->length > 0) {
        due = due_s(run, queue);
        if (queue->length >= run->fleet->batch_size_max || due <= now_s) {
            start(run, replica, now_s);
            due = INFINITY;
            if (shared && queue->length > 0 && run->free_replicas > 0) due = due_s(run, queue);
        }
    }
    if (shared) {
        run->shared_due_s = run->free_replicas > 0 ? due : INFINITY;
    } else if (!run->busy[replica]) {
        happens(run, replica, due);
    }
}

static void complete(Run *run, int32_t replica, double now_s) {
    Queue *queue = queue_of(run, replica);
    queue->last_end_s = now_s;
    run->busy[replica] = false;
    run->outstanding[replica] -= run->in_service[replica];
    happens(run, replica, INFINITY);
    if (run->fleet->routing != SHARED_QUEUE || run->free_replicas == 0) queue->open_s = now_s;
    run->free_replicas++;
    look(run, replica, now_s);
}

static int32_t first_free(const Run *run) {
    int32_t replica = 0;
    while (run->busy[replica]) replica++;
    return replica;
}

/* ---- arrivals ---- */

static int32_t route(Run *run) {
    const int32_t replicas = run->fleet->replicas;
    const int64_t *outstanding = run->outstanding;
    int32_t chosen = 0;
    switch (run->fleet->routing) {
        case ROUND_ROBIN:
            chosen = run->turn;
            run->turn = (run->turn + 1) % replicas;
            return chosen;
        case RANDOM:
            return below(&run->random_route, replicas);
        case POWER_OF_TWO: {
            if (replicas == 1) return 0;
            int32_t one = below(&run->random_route, replicas), other = below(&run->random_route, replicas - 1);
            other += other >= one;
            const int32_t low = one < other ? one : other, high = one < other ? other : one;
            return outstanding[high] < outstanding[low] ? high : low;
        }
        default:
            for (int32_t r = 1; r < replicas; r++)
                if (outstanding[r] < outstanding[chosen]) chosen = r;
            return chosen;
    }
}

static void arrive(Run *run, Request request) {
    const Fleet *fleet = run->fleet;
    const bool shared = fleet->routing == SHARED_QUEUE, counted = request.number >= run->first && request.number < run->last;
    const int32_t replica = shared ? 0 : route(run);
    Queue *queue = queue_of(run, replica);
    const int64_t free_here = shared ? run->free_replicas : !run->busy[replica];
    if (counted) run->counts->arrived++;
    if (fleet->queue_limit >= 0 && queue->length >= fleet->queue_limit + free_here * fleet->batch_size_max) {
        if (counted) run->counts->lost++;
        run->to_serve -= counted;
        return;
    }
    push(run, queue, request);
    run->outstanding[replica]++;
    if (free_here > 0) look(run, shared ? first_free(run) : replica, request.arrival_s);
}

/* ---- one run ---- */

static bool ready(Run *run) {
    const int32_t replicas = run->fleet->replicas;
    for (run->leaves = 1; run->leaves < replicas;) run->leaves *= 2;
    run->queues = calloc((size_t)replicas, sizeof(Queue));
    run->busy = calloc((size_t)replicas, sizeof(bool));
    run->outstanding = calloc((size_t)replicas, sizeof(int64_t));
    run->in_service = calloc((size_t)replicas, sizeof(int64_t));
    run->next_s = malloc((size_t)run->leaves * sizeof(double));
    run->winner = calloc((size_t)(2 * run->leaves), sizeof(int32_t));
    if (!run->queues || !run->busy || !run->outstanding || !run->in_service || !run->next_s || !run->winner) return false;
    for (int32_t leaf = 0; leaf < run->leaves; leaf++) {
        run->next_s[leaf] = INFINITY;
        run->winner[run->leaves + leaf] = leaf;
    }
    for (int32_t node = run->leaves - 1; node >= 1; node--) run->winner[node] = run->winner[2 * node];
    for (int32_t i = 0; i < replicas; i++) {
        run->queues[i].room = 16;
        run->queues[i].last_end_s = -1.0;
        run->queues[i].ring = malloc(16 * sizeof(Request));
        if (run->queues[i].ring == NULL) return false;
    }
    run->free_replicas = replicas;
    run->shared_due_s = INFINITY;
    return true;
}

static void clear(Run *run) {
    if (run->queues)
        for (int32_t i = 0; i < run->fleet->replicas; i++) free(run->queues[i].ring);
    free(run->queues);
    free(run->busy);
    free(run->outstanding);
    free(run->in_service);
    free(run->next_s);
    free(run->winner);
}

static void serve(Run *run) {
    double arrival_s = gap_s(run);
    int64_t number = 0;
    double window_begin_s = 0.0;
    while (run->to_serve > 0 && !run->failed) {
        const int32_t replica = run->leaves > 1 ? run->winner[1] : 0;
        const double next_s = run->next_s[replica];
        const bool ends = run->busy[replica];
        /* At one instant: ends of batches, arrivals, timers. */
        if (ends && next_s <= arrival_s && next_s <= run->shared_due_s) {
            complete(run, replica, next_s);
        } else if (!ends && next_s < arrival_s) {
            start(run, replica, next_s);
        } else if (run->shared_due_s < arrival_s) {
            look(run, first_free(run), run->shared_due_s);
        } else {
            if (number == run->first) window_begin_s = arrival_s;
            if (number == run->last) run->counts->window_s = arrival_s - window_begin_s;
            arrive(run, (Request){arrival_s, number++});
            arrival_s += gap_s(run);
        }
    }
    if (number <= run->last) run->counts->window_s = arrival_s - window_begin_s;
}

/* Returns 0 where memory is short, else 1; `seeds` are three. */
int fleet_run(const Fleet *fleet, const uint64_t *seeds, int64_t warm_up, int64_t counted, Counts *counts,
              const Histogram *responses, const Histogram *waits) {
    Run run = {.fleet = fleet, .first = warm_up, .last = warm_up + counted, .to_serve = counted};
    run.counts = counts;
    run.responses = responses;
    run.waits = waits;
    run.random_arrival = seeds[0];
    run.random_service = seeds[1];
    run.random_route = seeds[2];
    *counts = (Counts){0};
    run.failed = !ready(&run);
    if (!run.failed) serve(&run);
    clear(&run);
    return !run.failed;
}
