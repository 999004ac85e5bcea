/* Asks the C library's resolver for the addresses of each name given, and prints how it ended: ok, no-name, no-data, try-again or failed. */
#include <netdb.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

#ifndef EAI_NODATA
#define EAI_NODATA -5
#endif

int main(int argc, char **argv) {
  for (int i = 1; i < argc; i++) {
    struct addrinfo hints, *list = NULL;
    memset(&hints, 0, sizeof hints);
    hints.ai_socktype = SOCK_STREAM;
    int status = getaddrinfo(argv[i], NULL, &hints, &list);
    printf("%s %s", argv[i], status == 0            ? "found"
                         : status == EAI_NONAME    ? "no-name"
                         : status == EAI_NODATA    ? "no-data"
                         : status == EAI_AGAIN     ? "try-again"
                                                   : "failed");
    for (struct addrinfo *entry = list; entry; entry = entry->ai_next) {
      char host[64];
      if (getnameinfo(entry->ai_addr, entry->ai_addrlen, host, sizeof host, NULL, 0, NI_NUMERICHOST) == 0) printf(" %s", host);
    }
    putchar('\n');
    fflush(stdout);
    if (list) freeaddrinfo(list);
  }
  return 0;
}
