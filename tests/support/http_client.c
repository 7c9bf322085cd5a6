/*
 * See http_client.h.
 */
#include "http_client.h"

#include "testing.h"

#include <arpa/inet.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

#define HEAD_BYTES 131072

int http_port;
char http_answer[HTTP_ANSWER_BYTES];

void pause_ms(int milliseconds)
{
    const struct timespec pause = {.tv_sec = milliseconds / 1000,
                                   .tv_nsec = milliseconds % 1000 * 1000000};
    (void)nanosleep(&pause, NULL);
}

int http_connect(void)
{
    const struct sockaddr_in address = {.sin_family = AF_INET,
                                        .sin_port = htons((uint16_t)http_port),
                                        .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    const struct timeval patience = {.tv_sec = 20};
    const int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_true(fd >= 0);
    assert_int_equal(setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience), 0);
    assert_int_equal(connect(fd, (const struct sockaddr *)&address, sizeof address), 0);
    return fd;
}

bool http_put(int fd, const char *bytes, size_t length)
{
    while (length > 0) {
        const ssize_t sent = send(fd, bytes, length, MSG_NOSIGNAL);
        if (sent <= 0) {
            return false;
        }
        bytes += sent;
        length -= (size_t)sent;
    }
    return true;
}

bool http_read_until(int fd, const char *text)
{
    size_t used = 0;
    http_answer[0] = '\0';
    for (;;) {
        const ssize_t got = recv(fd, http_answer + used, sizeof http_answer - 1 - used, 0);
        if (got <= 0) {
            return text == NULL;
        }
        used += (size_t)got;
        http_answer[used] = '\0';
        if (text != NULL && strstr(http_answer, text) != NULL) {
            return true;
        }
    }
}

int http_ask_raw(const char *head, const char *body, size_t bytes)
{
    const int fd = http_connect();
    assert_true(http_put(fd, head, strlen(head)));
    (void)http_put(fd, body, bytes); /* it may have been refused by then */
    assert_true(http_read_until(fd, NULL));
    (void)close(fd);
    return strncmp(http_answer, "HTTP/1.1 ", 9) == 0 ? (int)strtol(http_answer + 9, NULL, 10) : 0;
}

int http_ask(const char *method, const char *path, const char *headers, const char *body)
{
    static char head[HEAD_BYTES];
    const size_t length = body != NULL ? strlen(body) : 0;
    (void)snprintf(head, sizeof head,
                   "%s %s HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n%s"
                   "Content-Length: %zu\r\n\r\n",
                   method, path, headers != NULL ? headers : "api-key: key-1\r\n", length);
    return http_ask_raw(head, body != NULL ? body : "", length);
}

void http_has(const char *text)
{
    if (strstr(http_answer, text) == NULL) {
        fail_msg("the answer lacks \"%s\": %.1500s", text, http_answer);
    }
}

void http_lacks(const char *text)
{
    if (strstr(http_answer, text) != NULL) {
        fail_msg("the answer has \"%s\": %.1500s", text, http_answer);
    }
}
