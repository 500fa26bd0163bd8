#include "base/sha256.h"

#include <string.h>

#define BLOCK sizeof((ls_sha256 *)0)->block

static const uint32_t k[64] = {
    0x428a2f98, 0x71374491, 0xb5c0fbcf, 0xe9b5dba5, 0x3956c25b, 0x59f111f1, 0x923f82a4, 0xab1c5ed5,
    0xd807aa98, 0x12835b01, 0x243185be, 0x550c7dc3, 0x72be5d74, 0x80deb1fe, 0x9bdc06a7, 0xc19bf174,
    0xe49b69c1, 0xefbe4786, 0x0fc19dc6, 0x240ca1cc, 0x2de92c6f, 0x4a7484aa, 0x5cb0a9dc, 0x76f988da,
    0x983e5152, 0xa831c66d, 0xb00327c8, 0xbf597fc7, 0xc6e00bf3, 0xd5a79147, 0x06ca6351, 0x14292967,
    0x27b70a85, 0x2e1b2138, 0x4d2c6dfc, 0x53380d13, 0x650a7354, 0x766a0abb, 0x81c2c92e, 0x92722c85,
    0xa2bfe8a1, 0xa81a664b, 0xc24b8b70, 0xc76c51a3, 0xd192e819, 0xd6990624, 0xf40e3585, 0x106aa070,
    0x19a4c116, 0x1e376c08, 0x2748774c, 0x34b0bcb5, 0x391c0cb3, 0x4ed8aa4a, 0x5b9cca4f, 0x682e6ff3,
    0x748f82ee, 0x78a5636f, 0x84c87814, 0x8cc70208, 0x90befffa, 0xa4506ceb, 0xbef9a3f7, 0xc67178f2};

static uint32_t rotate(uint32_t x, int n)
{
    return x >> n | x << (32 - n);
}

/* The schedule's next word from the sixteen before it, of which it replaces the first in a ring. */
static uint32_t schedule(uint32_t w[16], size_t i)
{
    const uint32_t a = w[(i + 1) % 16], b = w[(i + 14) % 16];
    return w[i] += (rotate(a, 7) ^ rotate(a, 18) ^ a >> 3) + w[(i + 9) % 16] +
                   (rotate(b, 17) ^ rotate(b, 19) ^ b >> 10);
}

/* One round; instead of moving the variables, their names move from one call to the next. */
#define ROUND(a, b, c, d, e, f, g, h, word, i)                                                     \
    do {                                                                                           \
        h += (rotate(e, 6) ^ rotate(e, 11) ^ rotate(e, 25)) + (g ^ (e & (f ^ g))) + k[t + i] +     \
             word(i);                                                                              \
        d += h;                                                                                    \
        h += (rotate(a, 2) ^ rotate(a, 13) ^ rotate(a, 22)) + ((a & b) | (c & (a | b)));           \
    } while (0)
#define EIGHT_ROUNDS(word, i)                                                                      \
    do {                                                                                           \
        ROUND(a, b, c, d, e, f, g, h, word, i);                                                    \
        ROUND(h, a, b, c, d, e, f, g, word, i + 1);                                                \
        ROUND(g, h, a, b, c, d, e, f, word, i + 2);                                                \
        ROUND(f, g, h, a, b, c, d, e, word, i + 3);                                                \
        ROUND(e, f, g, h, a, b, c, d, word, i + 4);                                                \
        ROUND(d, e, f, g, h, a, b, c, word, i + 5);                                                \
        ROUND(c, d, e, f, g, h, a, b, word, i + 6);                                                \
        ROUND(b, c, d, e, f, g, h, a, word, i + 7);                                                \
    } while (0)
#define FIRST(i) w[i]
#define LATER(i) schedule(w, i)

static void add_block(uint32_t state[8], const uint8_t *p)
{
    uint32_t a = state[0], b = state[1], c = state[2], d = state[3], e = state[4], f = state[5],
             g = state[6], h = state[7], w[16];
    for (size_t i = 0; i < 16; i++, p += 4)
        w[i] = (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
    size_t t = 0;
    EIGHT_ROUNDS(FIRST, 0);
    EIGHT_ROUNDS(FIRST, 8);
    for (t = 16; t < 64; t += 16) {
        EIGHT_ROUNDS(LATER, 0);
        EIGHT_ROUNDS(LATER, 8);
    }
    const uint32_t sum[8] = {a, b, c, d, e, f, g, h};
    for (size_t i = 0; i < 8; i++)
        state[i] += sum[i];
}

void ls_sha256_begin(ls_sha256 *s)
{
    static const uint32_t start[8] = {0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a,
                                      0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19};
    memcpy(s->state, start, sizeof start);
    s->size = 0;
}

void ls_sha256_add(ls_sha256 *s, const void *data, size_t size)
{
    const uint8_t *p = data;
    const size_t have = s->size % BLOCK;
    s->size += size;
    if (have && size >= BLOCK - have) {
        memcpy(s->block + have, p, BLOCK - have);
        add_block(s->state, s->block);
        p += BLOCK - have;
        size -= BLOCK - have;
    } else if (have) {
        memcpy(s->block + have, p, size);
        return;
    }
    for (; size >= BLOCK; size -= BLOCK, p += BLOCK)
        add_block(s->state, p);
    memcpy(s->block, p, size);
}

void ls_sha256_end(ls_sha256 *s, uint8_t sha256[LS_SHA256_BYTES])
{
    static const uint8_t padding[BLOCK] = {0x80};
    const uint64_t bits = s->size * 8;
    uint8_t length[8];
    for (size_t i = 0; i < 8; i++)
        length[i] = (uint8_t)(bits >> (56 - 8 * i));
    ls_sha256_add(s, padding, 1 + (BLOCK + 55 - s->size % BLOCK) % BLOCK);
    ls_sha256_add(s, length, sizeof length);
    for (size_t i = 0; i < LS_SHA256_BYTES; i++)
        sha256[i] = (uint8_t)(s->state[i / 4] >> (24 - 8 * (i % 4)));
}
