// Sends recorded SNMP requests over and over to an agent on loopback, and times the answers.
//
//     ask PORT SECONDS WINDOW INTERVAL SHORTEST < REQUESTS
//
// REQUESTS: each with its length in two octets, big endian, before it. WINDOW requests are on their way at a time;
// with an INTERVAL (microseconds; WINDOW 1) a request leaves at each multiple of it. The answer is timed to when the
// kernel has it for us, from when the request leaves, or from when it should have left where the answer before it came
// only after that: how soon this program itself gets a processor is not in it, and a slow agent hides nothing. An answer of
// fewer than SHORTEST octets is not what was recorded. Prints as JSON: answers, wrong and lost ones, seconds, and the
// microseconds that half, 99 % and 99.9 % of the answers took at most.

#include <arpa/inet.h>
#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <time.h>

enum { REQUESTS_MAX = 4096, TIMES_MAX = 1 << 20 };

static unsigned char text[1 << 22], answer[1 << 16];
static struct { unsigned char *at; size_t octets; } requests[REQUESTS_MAX];
static uint32_t times[TIMES_MAX];

static int64_t now(void) {
    struct timespec at;
    clock_gettime(CLOCK_REALTIME, &at); // the clock of the kernel's time stamps
    return at.tv_sec * 1000000000LL + at.tv_nsec;
}

static void until(int64_t at) {
    struct timespec then = { at / 1000000000LL, at % 1000000000LL };
    while (clock_nanosleep(CLOCK_REALTIME, TIMER_ABSTIME, &then, NULL) == EINTR) {}
}

static int rising(const void *a, const void *b) {
    uint32_t one = *(const uint32_t *)a, other = *(const uint32_t *)b;
    return (one > other) - (one < other);
}

// Takes an answer: its octets, and when the kernel had it.
static ssize_t take(int own, int64_t *at) {
    union { struct cmsghdr head; char room[256]; } control;
    struct iovec into = { answer, sizeof answer };
    struct msghdr message = { .msg_iov = &into, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof control };
    ssize_t came = recvmsg(own, &message, 0);
    if (came < 0) return came;
    *at = now();
    for (struct cmsghdr *one = CMSG_FIRSTHDR(&message); one != NULL; one = CMSG_NXTHDR(&message, one)) {
        if (one->cmsg_level == SOL_SOCKET && one->cmsg_type == SCM_TIMESTAMPNS) {
            struct timespec stamp;
            memcpy(&stamp, CMSG_DATA(one), sizeof stamp);
            *at = stamp.tv_sec * 1000000000LL + stamp.tv_nsec;
        }
    }
    return came;
}

int main(int count, char **given) {
    if (count != 6) return 2;
    double seconds = atof(given[2]);
    long window = atol(given[3]), interval = atol(given[4]) * 1000, shortest = atol(given[5]);
    size_t octets = fread(text, 1, sizeof text, stdin), known = 0;
    for (size_t at = 0; at + 2 <= octets && known < REQUESTS_MAX; known++) {
        requests[known].octets = (size_t)text[at] << 8 | text[at + 1];
        requests[known].at = text + at + 2;
        at += 2 + requests[known].octets;
        if (at > octets) return 2;
    }
    if (known == 0 || window < 1 || (interval > 0 && window != 1)) return 2;
    struct sockaddr_in agent = { .sin_family = AF_INET, .sin_port = htons((uint16_t)atoi(given[1])) };
    agent.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    int own = socket(AF_INET, SOCK_DGRAM, 0);
    struct timeval patience = { 1, 0 };
    int yes = 1;
    if (own < 0 || connect(own, (struct sockaddr *)&agent, sizeof agent) != 0 ||
        setsockopt(own, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience) != 0 ||
        (interval > 0 && setsockopt(own, SOL_SOCKET, SO_TIMESTAMPNS, &yes, sizeof yes) != 0)) {
        perror("socket");
        return 1;
    }
    long answers = 0, wrong = 0, lost = 0, waiting = 0;
    size_t next = 0, timed = 0;
    int64_t began = now(), end = began + (int64_t)(seconds * 1e9), due = began, from = began, came_at = began;
    while (now() < end) {
        while (waiting < window) {
            if (interval > 0 && due > came_at) {
                until(due);
                from = now();
            } else {
                from = due;
            }
            if (send(own, requests[next].at, requests[next].octets, 0) < 0) {
                perror("send");
                return 1;
            }
            next = (next + 1) % known;
            waiting++;
        }
        ssize_t came = take(own, &came_at);
        if (came < 0) {
            if (errno == EINTR) continue;
            if (errno != EAGAIN) {
                perror("recvmsg");
                return 1;
            }
            lost += waiting;
            waiting = 0;
            due = now();
            continue;
        }
        if (interval > 0 && timed < TIMES_MAX) times[timed++] = (uint32_t)((came_at - from) / 1000);
        due += interval;
        waiting--;
        answers++;
        wrong += came < shortest;
    }
    double took = (double)(now() - began) / 1e9;
    qsort(times, timed, sizeof *times, rising);
    uint32_t half = timed ? times[timed / 2] : 0;
    uint32_t most = timed ? times[timed * 99 / 100] : 0, nearly = timed ? times[timed * 999 / 1000] : 0;
    printf("{\"answers\": %ld, \"wrong\": %ld, \"lost\": %ld, \"seconds\": %.3f, \"p50\": %u, \"p99\": %u, \"p999\": %u}\n",
           answers, wrong, lost, took, half, most, nearly);
    return 0;
}
