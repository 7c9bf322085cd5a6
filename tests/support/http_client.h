/*
 * A client of plain sockets for tests of the service: sends what it is told, right or wrong.
 */
#ifndef TESTS_SUPPORT_HTTP_CLIENT_H
#define TESTS_SUPPORT_HTTP_CLIENT_H

#include <stdbool.h>
#include <stddef.h>

#define HTTP_ANSWER_BYTES (1 << 20)

extern int http_port;                       /* of the server on 127.0.0.1 */
extern char http_answer[HTTP_ANSWER_BYTES]; /* what came last, head and body */

int http_connect(void);
bool http_put(int fd, const char *bytes, size_t length);
/* Reads until the server closes (text NULL) or the text is there; false when it never came. */
bool http_read_until(int fd, const char *text);
/* One request on a connection of its own: its status, 0 without an answer. */
int http_ask_raw(const char *head, const char *body, size_t bytes);
/* headers NULL: "api-key: key-1"; body NULL: none. */
int http_ask(const char *method, const char *path, const char *headers, const char *body);
void http_has(const char *text); /* fails the test unless http_answer has it */
void http_lacks(const char *text);
void pause_ms(int milliseconds);

#endif
