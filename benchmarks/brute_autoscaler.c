/* Brute autoscaler: days of a fleet under Kubernetes' HPA, event by event, by the shortest program that does it.

   Written from Kubernetes' replica_calculator.go and horizontal.go and from the semantics in CONTRIBUTING.md, and from
   nothing of the project, to check its choices of autoscalers. Each replica has its own queue, requests come in turn to
   those that serve, batches start at once with fixed times by size, and the queue of a replica that leaves goes to the
   others. Replicas are a stack: the youngest leave first. */

#include <math.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#define SYNC 15.0
#define MOST 256
#define NEVER 1e300

typedef struct {
    double *came; /* when those who wait came, in a ring */
    long head, count, room;
    double began, ends, busy; /* of its batch; ends is NEVER while it rests */
    int size;
    double batch[512]; /* when those of the batch came */
    double created, serves;
    double known, sampled_busy, gauge; /* metric of the last sample that is known, and what it is made of */
} Replica;

typedef struct {
    long requests, late;
    double hours;
    int most;
} Day;

typedef struct {
    int edges;
    const double *from_s, *rates; /* of the day, from midnight on */
    const double *times_s;        /* of batches by size less 1 */
    int batch_max;
    double limit_s;
    int is_share, target; /* utilization in percents, else thousandths of requests */
    int least, bound;
    double startup_s, lag_s, stable_s;
} Question;

static uint64_t state[2];

static double uniform(void) { /* xorshift128+ */
    uint64_t a = state[0], b = state[1];
    state[0] = b;
    a ^= a << 23;
    state[1] = a ^ b ^ (a >> 17) ^ (b >> 26);
    return ((state[1] + b) >> 11) * 0x1.0p-53;
}

static double rate_at(const Question *q, double now_s) {
    double of_day = fmod(now_s + 10.0 * 86400.0, 86400.0), rate = q->rates[q->edges - 1];
    for (int i = 0; i < q->edges; i++)
        if (q->from_s[i] <= of_day) rate = q->rates[i];
    return rate;
}

static Replica fleet[MOST];
static int wanted, ready, turn;

static void wait_in_line(Replica *r, double came) {
    if (r->count == r->room) {
        long room = r->room ? 2 * r->room : 64;
        double *longer = malloc(room * sizeof(double));
        for (long i = 0; i < r->count; i++) longer[i] = r->came[(r->head + i) % r->room];
        free(r->came);
        r->came = longer, r->head = 0, r->room = room;
    }
    r->came[(r->head + r->count++) % r->room] = came;
}

static void start(const Question *q, Replica *r, double now) {
    if (r->ends < NEVER || r->count == 0) return;
    r->size = r->count < q->batch_max ? (int)r->count : q->batch_max;
    for (int i = 0; i < r->size; i++) {
        r->batch[i] = r->came[r->head];
        r->head = (r->head + 1) % r->room;
    }
    r->count -= r->size;
    r->began = now;
    r->ends = now + q->times_s[r->size - 1];
}

static int route(const Question *q, double came, double now) { /* 0 where nobody serves */
    if (ready == 0) return 0;
    if (turn >= ready) turn = 0;
    Replica *r = &fleet[turn++];
    wait_in_line(r, came);
    start(q, r, now);
    return 1;
}

static double ratio_of(const Question *q, long sum, long pods) {
    if (q->is_share) return (double)(sum * 100 / (pods * 1000)) / q->target;
    return (double)(sum / pods) / q->target;
}

/* What the HPA recommends. */
static int desired(const Question *q, double now, double measured) {
    long sum = 0, counted = 0, idle = 0, missing = 0;
    for (int i = 0; i < wanted; i++) {
        const Replica *r = &fleet[i];
        int serves = i < ready;
        double since = q->is_share ? r->created : r->serves;
        int has_metric = measured >= since + SYNC;
        double changed = serves ? r->serves : r->created;
        int ignored = 0;
        if (q->is_share && has_metric) {
            if (r->created + 300.0 > now) ignored = !serves || measured < changed + SYNC;
            else ignored = !serves && r->created + 30.0 > changed;
        }
        if (!has_metric) missing++;
        else if (ignored) idle++;
        else sum += (long)(1000.0 * r->known), counted++;
    }
    if (counted == 0) return wanted;
    double first = ratio_of(q, sum, counted);
    int counts_idle = idle > 0 && first > 1.0;
    if (!counts_idle && missing == 0)
        return fabs(first - 1.0) <= 0.1 ? wanted : (int)ceil(first * counted);
    long pods = counted + missing;
    if (first < 1.0) sum += missing * (q->is_share ? 1000 : q->target);
    if (first == 1.0) pods = counted;
    if (counts_idle) pods += idle;
    double again = ratio_of(q, sum, pods);
    if (fabs(again - 1.0) <= 0.1 || (first < 1.0 && again > 1.0) || (first > 1.0 && again < 1.0)) return wanted;
    int count = (int)ceil(again * pods);
    if ((again < 1.0 && count > wanted) || (again > 1.0 && count < wanted)) return wanted;
    return count;
}

Day day(const Question *q, uint64_t seed, double warm_s) {
    Day found = {0, 0, 0.0, 0};
    double now = -warm_s, end = 86400.0, peak = 0.0, next_sync = now + SYNC, area = 0.0, last = 0.0;
    double recommended_at[4096];
    int recommended[4096], first_rec = 0, recs = 0;
    state[0] = seed * 0x9E3779B97F4A7C15ull + 1, state[1] = seed ^ 0xD1B54A32D192ED03ull;
    for (int i = 0; i < 20; i++) uniform();
    for (int i = 0; i < q->edges; i++) peak = fmax(peak, q->rates[i]);
    for (int i = 0; i < MOST; i++) {
        free(fleet[i].came);
        memset(&fleet[i], 0, sizeof(Replica));
        fleet[i].ends = NEVER;
    }
    double full = q->batch_max / q->times_s[q->batch_max - 1];
    wanted = (int)ceil(rate_at(q, now) / (0.7 * full));
    wanted = wanted < q->least ? q->least : wanted > q->bound ? q->bound : wanted;
    if (wanted < 1) wanted = 1;
    ready = wanted, turn = 0;
    for (int i = 0; i < wanted; i++) fleet[i].created = fleet[i].serves = -NEVER;
    double next_sample = -warm_s + SYNC * ceil(q->lag_s / SYNC) - q->lag_s, measured = -NEVER;
    int parts = 0, samples = 0;
    double next_look = q->is_share ? next_sample : next_sample - 10.0;
    while (next_look < now) next_look += 5.0;
    double pending[8][MOST];
    double pending_at[8];
    int pendings = 0;
    double arrival = now - log(1.0 - uniform()) / peak;
    for (;;) {
        int done = -1;
        double when = NEVER;
        for (int i = 0; i < q->bound; i++)
            if (fleet[i].ends < when) when = fleet[i].ends, done = i;
        double joins = ready < wanted ? fleet[ready].serves : NEVER;
        double next = fmin(fmin(when, arrival), fmin(fmin(next_sync, next_look), joins));
        if (next_sync > end) next = fmin(when, arrival);
        if (next == NEVER || (arrival == NEVER && when == NEVER)) break;
        now = next;
        if (now == when) {
            Replica *r = &fleet[done];
            for (int i = 0; i < r->size; i++)
                if (r->batch[i] >= 0.0 && r->batch[i] < end && now - r->batch[i] > q->limit_s) found.late++;
            r->busy += now - r->began;
            r->ends = NEVER;
            start(q, r, now);
        } else if (now == arrival) {
            if (uniform() * peak < rate_at(q, now)) {
                int kept = route(q, now, now);
                if (now >= 0.0) found.requests++, found.late += !kept;
            }
            arrival = now - log(1.0 - uniform()) / peak;
            if (arrival >= end) arrival = NEVER;
        } else if (now == next_look) { /* before a sync of the same instant */
            int is_sample = q->is_share || ++parts == 3 || now >= next_sample - 1e-9;
            for (int i = 0; i < q->bound; i++) {
                Replica *r = &fleet[i];
                r->gauge += r->count + (r->ends < NEVER ? r->size : 0);
            }
            if (is_sample) {
                int looks = parts ? parts : 1;
                for (int i = 0; i < q->bound; i++) {
                    Replica *r = &fleet[i];
                    double busy = r->busy + (r->ends < NEVER ? now - r->began : 0.0);
                    pending[pendings][i] = q->is_share ? (busy - r->sampled_busy) / SYNC : r->gauge / looks;
                    r->sampled_busy = busy, r->gauge = 0.0;
                }
                if (!q->is_share || samples > 0) pending_at[pendings++] = now;
                samples++, parts = 0;
                next_sample += SYNC;
            }
            next_look = q->is_share ? next_sample : (parts == 0 ? next_sample - 10.0 : now + 5.0);
        } else if (now == next_sync) {
            next_sync += SYNC;
            int used = 0;
            while (used < pendings && pending_at[used] <= now - q->lag_s + 1e-9) {
                measured = pending_at[used];
                for (int i = 0; i < q->bound; i++) fleet[i].known = pending[used][i];
                used++;
            }
            for (int i = used; i < pendings; i++) {
                pending_at[i - used] = pending_at[i];
                memcpy(pending[i - used], pending[i], sizeof pending[i]);
            }
            pendings -= used;
            int count = wanted;
            if (measured > -NEVER) {
                int raw = desired(q, now, measured), largest = raw;
                while (recs && recommended_at[first_rec % 4096] <= now - q->stable_s) first_rec++, recs--;
                for (int i = 0; i < recs; i++) {
                    int one = recommended[(first_rec + i) % 4096];
                    if (one > largest) largest = one;
                }
                recommended_at[(first_rec + recs) % 4096] = now;
                recommended[(first_rec + recs++) % 4096] = raw;
                count = raw >= wanted ? raw : (largest < wanted ? largest : wanted);
                int most = 2 * wanted > wanted + 4 ? 2 * wanted : wanted + 4;
                if (count > most) count = most;
                if (count < q->least) count = q->least;
                if (count > q->bound) count = q->bound;
            }
            if (now > 0.0) area += wanted * (now - fmax(last, 0.0)), last = now;
            if (now <= 0.0) last = now;
            for (int i = wanted; i < count; i++) fleet[i].created = now, fleet[i].serves = now + q->startup_s;
            wanted = count;
            while (ready > wanted) {
                Replica *r = &fleet[--ready];
                for (long left = r->count; left > 0; left--) {
                    double came = r->came[r->head];
                    r->head = (r->head + 1) % r->room;
                    r->count--;
                    if (!route(q, came, now)) found.late += came >= 0.0;
                }
            }
            while (ready < wanted && fleet[ready].serves <= now) ready++;
            if (now >= 0.0 && wanted > found.most) found.most = wanted;
        } else {
            ready++;
        }
    }
    area += wanted * (end - fmax(last, 0.0));
    found.hours = area / 3600.0;
    return found;
}
