/* cmd_link.c: `cdunet-bench link`: a network of a set rate and delay between namespaces of one machine, for bench/scale.py, where the kernel has no netem. Each namespace
 * has a TUN device, whose packets are carried from here as a switch would: one after the other at the rate of the sender's link, later by the delay, and
 * at the rate of the receiver's link. Leaves out loss, but for a switch's full buffer, and the setting up, which needs root: scale.py does that with `ip`. */
#ifdef __linux__
#define _GNU_SOURCE     /* setns, ppoll */
#endif
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "bench/commands.h"
#include "core/base/memory.h"
#include "core/base/progress.h"

#ifdef __linux__
#include <linux/if.h>
#include <linux/if_tun.h>
#include <sys/prctl.h>

enum { PORTS = 64, QUEUE = 1024, PACKET = 65536, TO = 19 /* the last byte of an IPv4 packet's receiver */, TOGETHER = 16 };
static const double AHEAD = 4e-3, SPIN = 15e-6; /* what waits for a link at most, so that waking up late costs it nothing; what is not worth a sleep; seconds */

typedef struct { double due; size_t size; unsigned char *bytes; } packet;
typedef struct {
    int tun;
    double sent, received;      /* when the link towards the switch is free, and the one from it */
    packet queue[QUEUE];        /* towards this port, in the order of `due` */
    uint32_t first, count;
} port;

typedef struct {
    port *ports;
    size_t count;
    double delay, seconds_a_byte;
    unsigned char **spare;      /* buffers of PACKET bytes that hold nothing */
    size_t spares, capacity;
    uint64_t lost;
} network;

static cdu_status open_port(const char *name, const char *device, int home, int *out, cdu_error *error)
{
    char path[256];
    struct ifreq request = {.ifr_flags = IFF_TUN | IFF_NO_PI};
    snprintf(path, sizeof path, "/run/netns/%s", name);
    snprintf(request.ifr_name, sizeof request.ifr_name, "%s", device);
    int there = open(path, O_RDONLY | O_CLOEXEC);
    if (there < 0) return cdu_fail(error, CDU_USAGE, "there is no network namespace '%s': %s: %s; `ip netns add %s` makes one", name, path, strerror(errno), name);
    bool entered = setns(there, CLONE_NEWNET) == 0;
    *out = entered ? open("/dev/net/tun", O_RDWR | O_NONBLOCK | O_CLOEXEC) : -1;
    bool attached = *out >= 0 && ioctl(*out, TUNSETIFF, &request) == 0;
    int reason = errno;
    close(there);
    if (entered && setns(home, CLONE_NEWNET) != 0) return cdu_fail(error, CDU_FAILED, "the own network namespace cannot be entered: %s", strerror(errno));
    if (attached) return CDU_OK;
    return cdu_fail(error, CDU_USAGE, "device '%s' in namespace '%s' cannot be opened: %s; that needs root", device, name, strerror(reason));
}

static cdu_status take_buffer(network *n, unsigned char **out, cdu_error *error)
{
    if (n->spares) *out = n->spare[--n->spares];
    else CDU_TRY(cdu_allocate(out, PACKET, 1, error));
    return CDU_OK;
}

static void give_buffer(network *n, unsigned char *buffer)
{
    if (n->spares < n->capacity) n->spare[n->spares++] = buffer;
    else free(buffer);
}

/* One packet from `from`, if there is one. */
static cdu_status receive(network *n, port *from, double now, bool *more, cdu_error *error)
{
    unsigned char *bytes;
    CDU_TRY(take_buffer(n, &bytes, error));
    ssize_t size = read(from->tun, bytes, PACKET);
    size_t to = size > TO && bytes[0] >> 4 == 4 ? bytes[TO] - (size_t)1 : n->count;
    *more = size > 0;
    if (to >= n->count || n->ports[to].count == QUEUE) {
        n->lost += to < n->count;
        give_buffer(n, bytes);
        return CDU_OK;
    }
    port *p = &n->ports[to];
    double takes = (double)size * n->seconds_a_byte, begins = from->sent > now ? from->sent : now;
    from->sent = begins + takes;
    double arrives = begins + n->delay;
    p->received = (arrives > p->received ? arrives : p->received) + takes;
    p->queue[(p->first + p->count++) % QUEUE] = (packet){p->received, (size_t)size, bytes};
    return CDU_OK;
}

static void deliver(network *n, port *p, double now)
{
    for (; p->count && p->queue[p->first].due <= now; p->first = (p->first + 1) % QUEUE, p->count--) {
        packet *next = &p->queue[p->first];
        if (write(p->tun, next->bytes, next->size) < 0) n->lost++;
        give_buffer(n, next->bytes);
    }
}

static cdu_status carry(network *n, cdu_error *error)
{
    struct pollfd polled[PORTS + 1];
    for (;;) {
        double now = cdu_seconds(), next = now + 1;
        for (size_t i = 0; i < n->count; i++) {
            port *p = &n->ports[i];
            deliver(n, p, now);
            bool more = true;
            for (int k = 0; more && k < TOGETHER && p->sent - now < AHEAD; k++) CDU_TRY(receive(n, p, now, &more, error));
        }
        now = cdu_seconds();
        for (size_t i = 0; i < n->count; i++) {
            port *p = &n->ports[i];
            bool full = p->sent - now >= AHEAD;
            polled[i] = (struct pollfd){.fd = full ? -1 : p->tun, .events = POLLIN};
            if (full && p->sent - AHEAD < next) next = p->sent - AHEAD;
            if (p->count && p->queue[p->first].due < next) next = p->queue[p->first].due;
        }
        polled[n->count] = (struct pollfd){.fd = STDIN_FILENO, .events = POLLIN};
        double rest = next - now;
        if (rest < SPIN) rest = 0;
        if (ppoll(polled, n->count + 1, &(struct timespec){(time_t)rest, (long)((rest - (double)(time_t)rest) * 1e9)}, NULL) < 0 && errno != EINTR)
            return cdu_fail(error, CDU_FAILED, "waiting for packets failed: %s", strerror(errno));
        if (polled[n->count].revents) return CDU_OK;
    }
}

static cdu_status open_and_carry(network *n, const char *const *names, const char *device, cdu_error *error)
{
    int home = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC);
    n->capacity = QUEUE;
    CDU_TRY(cdu_allocate(&n->ports, n->count, sizeof *n->ports, error));
    CDU_TRY(cdu_allocate(&n->spare, n->capacity, sizeof *n->spare, error));
    for (size_t i = 0; i < n->count; i++) n->ports[i].tun = -1;
    for (size_t i = 0; i < n->count; i++) CDU_TRY(open_port(names[i], device, home, &n->ports[i].tun, error));
    close(home);
    prctl(PR_SET_TIMERSLACK, 1);
    printf("ready\n");
    fflush(stdout);
    return carry(n, error);
}

static void end(network *n)
{
    for (size_t i = 0; n->ports && i < n->count; i++) {
        for (port *p = &n->ports[i]; p->count; p->first = (p->first + 1) % QUEUE, p->count--) free(p->queue[p->first].bytes);
        if (n->ports[i].tun >= 0) close(n->ports[i].tun);
    }
    while (n->spares) free(n->spare[--n->spares]);
    free(n->spare);
    free(n->ports);
}
#endif

cdu_status bench_cmd_link(int argc, char **argv, cdu_error *error)
{
    const char **names = NULL, *device = NULL;
    size_t count = 0;
    double rate = 0, delay = 0;
    bool done = false;
    const cdu_option options[] = {
        {.name = "rate", .type = CDU_OPTION_FLOAT, .value = &rate, .argument = "GBITS", .fallback = "10", .least = 0.001, .most = 1000,
         .help = "Gbit/s of each namespace's link, in each direction"},
        {.name = "delay", .type = CDU_OPTION_FLOAT, .value = &delay, .argument = "US", .fallback = "50", .least = 0, .most = 1e6,
         .help = "microseconds from one namespace to another"},
        {.name = "tun", .type = CDU_OPTION_TEXT, .value = &device, .argument = "NAME", .fallback = "link0", .help = "the device in each namespace"},
        {0}};
    const cdu_positional positionals[] = {{.name = "NAMESPACE", .values = &names, .count = &count, .help = "the n-th has an address that ends with n"}, {0}};
    const cdu_usage usage = {argv[0], "carries packets between network namespaces at a set rate, with a set delay",
                             "Needs root. Says `ready` and works until its standard input ends. bench/scale.py --rate sets up the namespaces.", options, positionals};
    CDU_TRY(cdu_options_parse(&usage, argc, argv, &done, error));
    if (done) return CDU_OK;
#ifdef __linux__
    if (count < 2 || count > PORTS) return cdu_fail(error, CDU_USAGE, "%zu namespaces are named; a network takes 2 to %d", count, PORTS);
    network n = {.count = count, .delay = delay * 1e-6, .seconds_a_byte = 8e-9 / rate};
    cdu_status status = open_and_carry(&n, names, device, error);
    if (n.lost) fprintf(stderr, "cdunet-bench: link: %llu packets were lost\n", (unsigned long long)n.lost);
    end(&n);
    return status;
#else
    return cdu_fail(error, CDU_USAGE, "link works with Linux's network namespaces; this is another system");
#endif
}
