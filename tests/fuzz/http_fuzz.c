/*
 * Any bytes as what clients send to `lorac serve`: up to four connections, in pieces of any size,
 * in turns, some closed in the middle. The first four bytes choose the pieces and who hangs up; a
 * record separator (0x1e) begins the next connection. Every answer is checked as served.h says;
 * nothing hangs, no descriptor is lost.
 */
#include <stdlib.h>
#include <string.h>

#include "base/rng.h"
#include "served.h"

#define MAX_CLIENTS   4
#define NEXT_CLIENT   '\x1e'
#define LONGEST_PIECE 200

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

typedef struct sender {
    served_client client;
    const char *bytes;
    size_t count;
    bool hangs_up;
} sender;

/* How many connections the input has. */
static int cut(const char *bytes, size_t size, sender *senders)
{
    int count = 0;
    while (count < MAX_CLIENTS) {
        const char *next =
            size > 0 && count < MAX_CLIENTS - 1 ? memchr(bytes, NEXT_CLIENT, size) : NULL;
        const size_t length = next != NULL ? (size_t)(next - bytes) : size;
        senders[count++] = (sender){.bytes = bytes, .count = length};
        if (next == NULL) {
            break;
        }
        bytes += length + 1;
        size -= length + 1;
    }
    return count;
}

/* An exact copy, so that reading past it is seen, goes to the server. */
static void send_piece(sender *from, size_t piece)
{
    piece = piece < from->count ? piece : from->count;
    served_send(&from->client, from->bytes, piece);
    from->bytes += piece;
    from->count -= piece;
    if (from->count == 0 && from->hangs_up) {
        served_hang_up(&from->client);
    }
}

static void send_all(sender *senders, int count, uint32_t seed)
{
    lc_rng rng;
    lc_rng_init(&rng, seed, 0);
    const size_t longest = seed % 3 == 0 ? SIZE_MAX : seed % 3 == 1 ? LONGEST_PIECE : 3;
    for (int left = count; left > 0;) {
        left = 0;
        for (int i = 0; i < count; i++) {
            if (senders[i].count > 0) {
                send_piece(&senders[i],
                           longest == SIZE_MAX ? longest : (size_t)lc_rng_below(&rng, longest) + 1);
                left += senders[i].count > 0;
            }
        }
    }
}

static void check_answers(const served_client *client)
{
    size_t at = 0;
    served_answer answer;
    while (served_take(client->received.data, client->received.length, &at, NULL, &answer)) {
        served_answer_release(&answer);
    }
    served_answer_release(&answer);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    sender senders[MAX_CLIENTS];
    served_client clients[MAX_CLIENTS];
    uint32_t seed = 0;
    if (size < sizeof seed || served_is_told((const char *)data, size)) {
        return 0;
    }
    memcpy(&seed, data, sizeof seed);
    served_open(false);
    served_reset();
    const int count = cut((const char *)data + sizeof seed, size - sizeof seed, senders);
    for (int i = 0; i < count; i++) {
        served_connect(&senders[i].client);
        senders[i].hangs_up = (seed >> (24 + i) & 7) == 7;
    }
    send_all(senders, count, seed);
    for (int i = 0; i < count; i++) {
        clients[i] = senders[i].client;
    }
    served_finish(clients, count);
    for (int i = 0; i < count; i++) {
        if (clients[i].fd >= 0) {
            check_answers(&clients[i]);
        }
        served_release(&clients[i]);
    }
    served_check_descriptors();
    return 0;
}
