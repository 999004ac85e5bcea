// What packets between two namespaces are measured with: flow serve PORT | stream ADDRESS PORT MS | talk ADDRESS PORT N | connect ADDRESS PORT N
// stream prints megabits a second; talk and connect print microseconds for one (request and answer; connection made).
// All run on one processor: where the kernel would put the two ends, and when they sleep, says more of it than of the packets' way.
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

static double now(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return t.tv_sec * 1e6 + t.tv_nsec / 1e3;
}

static void fail(const char *what) {
  perror(what);
  exit(1);
}

static struct sockaddr_in address(const char *host, const char *port) {
  struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons((unsigned short)atoi(port))};
  if (inet_pton(AF_INET, host, &a.sin_addr) != 1) fail("address");
  return a;
}

static int dial(const struct sockaddr_in *to) {
  int s = socket(AF_INET, SOCK_STREAM, 0), one = 1;
  struct linger hard = {1, 0};
  setsockopt(s, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
  setsockopt(s, SOL_SOCKET, SO_LINGER, &hard, sizeof hard);
  if (connect(s, (const struct sockaddr *)to, sizeof *to) != 0) fail("connect");
  return s;
}

static void settle(void) {
  cpu_set_t allowed, one;
  int cpu = 0;
  if (sched_getaffinity(0, sizeof allowed, &allowed) != 0) fail("sched_getaffinity");
  while (cpu < CPU_SETSIZE - 1 && !CPU_ISSET(cpu, &allowed)) cpu++;
  CPU_ZERO(&one);
  CPU_SET(cpu, &one);
  if (sched_setaffinity(0, sizeof one, &one) != 0) fail("sched_setaffinity");
}

// The first byte says what is wanted: 's' takes all there is, 't' answers each byte.
static void *answer(void *argument) {
  int s = (int)(long)argument, one = 1;
  static __thread char buffer[1 << 18];
  char what;
  setsockopt(s, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
  if (read(s, &what, 1) == 1) {
    ssize_t n;
    if (what == 's') while (read(s, buffer, sizeof buffer) > 0) {}
    else while ((n = read(s, buffer, 1)) == 1) if (write(s, buffer, 1) != 1) break;
  }
  close(s);
  return NULL;
}

static void serve(const char *port) {
  struct sockaddr_in a = address("0.0.0.0", port);
  int s = socket(AF_INET, SOCK_STREAM, 0), one = 1;
  setsockopt(s, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
  if (bind(s, (struct sockaddr *)&a, sizeof a) != 0 || listen(s, 1024) != 0) fail("listen");
  puts("ready");
  fflush(stdout);
  for (;;) {
    int c = accept(s, NULL, NULL);
    pthread_t thread;
    if (c < 0) continue;
    if (pthread_create(&thread, NULL, answer, (void *)(long)c) == 0) pthread_detach(thread);
    else close(c);
  }
}

static int byTime(const void *a, const void *b) {
  double x = *(const double *)a, y = *(const double *)b;
  return x < y ? -1 : x > y;
}

int main(int count, char **words) {
  settle();
  if (count == 3 && strcmp(words[1], "serve") == 0) serve(words[2]);
  if (count != 5) return 2;
  struct sockaddr_in to = address(words[2], words[3]);
  int n = atoi(words[4]);
  if (strcmp(words[1], "stream") == 0) {
    static char buffer[1 << 18];
    int s = dial(&to);
    double bytes = 0, start = now(), end = start + n * 1e3;
    buffer[0] = 's';
    while (now() < end) {
      ssize_t sent = write(s, buffer, sizeof buffer);
      if (sent < 0) fail("write");
      bytes += sent;
    }
    printf("%.1f\n", bytes * 8 / (now() - start));
    return 0;
  }
  double *times = calloc((size_t)n, sizeof *times);
  int talk = strcmp(words[1], "talk") == 0, s = talk ? dial(&to) : -1;
  char byte = 't';
  if (talk && write(s, &byte, 1) != 1) fail("write");
  for (int i = 0; i < n; i++) {
    double start = now();
    if (talk) {
      if (write(s, &byte, 1) != 1 || read(s, &byte, 1) != 1) fail("talk");
    } else close(dial(&to));
    times[i] = now() - start;
  }
  qsort(times, (size_t)n, sizeof *times, byTime);
  printf("%.2f\n", times[n / 2]);
  return 0;
}
