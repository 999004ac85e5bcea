/*
 * The CNI executable: hands a container runtime's call to the node's agent over a Unix socket.
 *
 *   environment (CNI_*) and standard input  --one request-->  agent  --one answer-->  standard output, exit status
 *
 * The request is text: "CNI_COMMAND=ADD\n…\n" for each variable that is set, an empty line, then standard input to its
 * end (the sending side is shut down). The answer is the exit status as a decimal number, a newline, and what to print.
 * Nothing is parsed here but the configuration's cniVersion, for the errors that only this side can tell.
 */
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

enum { INPUT_MAX = 1 << 20, TIMEOUT_MS = 60000 };

static const char *const VARIABLES[] = {"CNI_COMMAND", "CNI_CONTAINERID", "CNI_NETNS", "CNI_NETNS_OVERRIDE", "CNI_IFNAME", "CNI_ARGS", "CNI_PATH"};

/* One byte more than is allowed, to tell the largest input from one too large. */
static char input[INPUT_MAX + 2];
static size_t input_length;

static void read_input(void) {
  while (input_length <= INPUT_MAX) {
    ssize_t got = read(0, input + input_length, INPUT_MAX + 1 - input_length);
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0) break;
    input_length += (size_t)got;
  }
  input[input_length] = 0;
}

/* The value of "cniVersion" in the configuration, or 1.1.0. Only version characters are taken over. */
static const char *configured_version(void) {
  static char version[24];
  const char *at = strstr(input, "\"cniVersion\"");
  size_t length = 0;
  if (at) {
    at += strlen("\"cniVersion\"");
    while (*at == ' ' || *at == ':' || *at == '\t' || *at == '\n' || *at == '\r') at++;
    if (*at++ == '"')
      while (length < sizeof version - 1 && ((*at >= '0' && *at <= '9') || *at == '.')) version[length++] = *at++;
  }
  version[length] = 0;
  return length ? version : "1.1.0";
}

static int fail(int code, const char *message, const char *details) {
  printf("{\"cniVersion\":\"%s\",\"code\":%d,\"msg\":\"%s\",\"details\":\"", configured_version(), code, message);
  for (; *details; details++)
    if (*details == '"' || *details == '\\') printf("\\%c", *details);
    else if ((unsigned char)*details >= 0x20) putchar(*details);
  puts("\"}");
  return 1;
}

/* FAIRLEAD_CNI_SOCKET, else the text of the file beside the executable (its name and ".socket"), else the default. */
static const char *socket_path(void) {
  static char path[512];
  const char *given = getenv("FAIRLEAD_CNI_SOCKET");
  ssize_t length;
  FILE *file;
  if (given && *given) return given;
  length = readlink("/proc/self/exe", path, sizeof path - 8);
  if (length > 0) {
    memcpy(path + length, ".socket", 8);
    file = fopen(path, "r");
    if (file) {
      char *line = fgets(path, sizeof path, file);
      fclose(file);
      if (line) {
        path[strcspn(path, "\n")] = 0;
        return path;
      }
    }
  }
  return "/run/fairlead/cni.sock";
}

static int send_all(int fd, const char *bytes, size_t length) {
  while (length > 0) {
    ssize_t sent = send(fd, bytes, length, MSG_NOSIGNAL);
    if (sent < 0 && errno == EINTR) continue;
    if (sent <= 0) return -1;
    bytes += sent;
    length -= (size_t)sent;
  }
  return 0;
}

int main(void) {
  const char *command = getenv("CNI_COMMAND");
  const char *path = socket_path();
  /* An agent that does not answer can't serve ADD: that is what STATUS asks. */
  int no_agent = command && strcmp(command, "STATUS") == 0 ? 50 : 11;
  struct sockaddr_un address = {.sun_family = AF_UNIX};
  static char answer[2 * INPUT_MAX + 1];
  size_t length = 0, i;
  char *body;
  int fd;

  read_input();
  if (command && strcmp(command, "VERSION") == 0) {
    printf("{\"cniVersion\":\"%s\",\"supportedVersions\":[\"0.3.1\",\"0.4.0\",\"1.0.0\",\"1.1.0\"]}\n", configured_version());
    return 0;
  }
  if (input_length > INPUT_MAX) return fail(6, "the network configuration is larger than 1 MiB", "");
  for (i = 0; i < sizeof VARIABLES / sizeof *VARIABLES; i++) {
    const char *value = getenv(VARIABLES[i]);
    if (value && strchr(value, '\n')) return fail(4, "a variable holds a line break", VARIABLES[i]);
  }
  if (strlen(path) >= sizeof address.sun_path) return fail(7, "the agent's socket path is too long", path);
  strcpy(address.sun_path, path);
  fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (fd < 0 || connect(fd, (struct sockaddr *)&address, sizeof address) < 0)
    return fail(no_agent, "Fairlead's agent does not answer: start it, then try again", path);

  for (i = 0; i < sizeof VARIABLES / sizeof *VARIABLES; i++) {
    const char *value = getenv(VARIABLES[i]);
    if (!value) continue;
    if (send_all(fd, VARIABLES[i], strlen(VARIABLES[i])) || send_all(fd, "=", 1) || send_all(fd, value, strlen(value)) || send_all(fd, "\n", 1))
      return fail(no_agent, "Fairlead's agent ended the call", path);
  }
  if (send_all(fd, "\n", 1) || send_all(fd, input, input_length)) return fail(no_agent, "Fairlead's agent ended the call", path);
  shutdown(fd, SHUT_WR);

  for (;;) {
    struct pollfd waiting = {.fd = fd, .events = POLLIN};
    int ready = poll(&waiting, 1, TIMEOUT_MS);
    ssize_t got;
    if (ready < 0 && errno == EINTR) continue;
    if (ready <= 0) return fail(no_agent, "Fairlead's agent did not answer within a minute", path);
    got = read(fd, answer + length, sizeof answer - 1 - length);
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0) break;
    length += (size_t)got;
  }
  answer[length] = 0;
  body = strchr(answer, '\n');
  /* What the agent prints ends with a line break: without it, the rest was lost. */
  if (!body || (body[1] && answer[length - 1] != '\n')) return fail(no_agent, "Fairlead's agent ended during the call: try again", path);
  fputs(body + 1, stdout);
  return atoi(answer);
}
