#include "puppet.h"

#include <math.h>
#include <string.h>

typedef struct viseme {
    const char *symbols;     /* IPA letters it applies to */
    puppet_mouth mouth;      /* open, width, round, teeth, tongue, tuck */
    double dominance, reach; /* over its neighbours; seconds in which that falls to 1/e */
} viseme;

static const viseme visemes[] = {
    {"ɑɐa", {0.92, 0.10, 0.00, 0.35, 0.0, 0}, 1.0, 0.045},
    {"æ", {0.78, 0.40, 0.00, 0.50, 0.0, 0}, 1.0, 0.045},
    {"ʌ", {0.62, 0.05, 0.00, 0.35, 0.0, 0}, 1.0, 0.045},
    {"ɛ", {0.55, 0.40, 0.00, 0.45, 0.0, 0}, 1.0, 0.045},
    {"e", {0.42, 0.50, 0.00, 0.50, 0.0, 0}, 1.0, 0.045},
    {"əɜɚɘ", {0.34, 0.05, 0.10, 0.40, 0.0, 0}, 0.7, 0.045},
    {"iɨ", {0.20, 0.85, 0.00, 0.70, 0.0, 0}, 1.0, 0.045},
    {"ɪ", {0.27, 0.55, 0.00, 0.60, 0.0, 0}, 0.9, 0.045},
    {"yʏ", {0.18, 0.00, 0.90, 0.20, 0.0, 0}, 1.1, 0.050},
    {"øœ", {0.38, 0.00, 0.75, 0.25, 0.0, 0}, 1.0, 0.050},
    {"ɔɒ", {0.64, 0.00, 0.55, 0.20, 0.0, 0}, 1.0, 0.050},
    {"o", {0.46, 0.00, 0.80, 0.10, 0.0, 0}, 1.1, 0.050},
    {"ʊ", {0.24, 0.00, 0.75, 0.10, 0.0, 0}, 1.0, 0.050},
    {"uɯ", {0.16, 0.00, 1.00, 0.00, 0.0, 0}, 1.1, 0.050},
    {"wɥ", {0.08, 0.00, 1.00, 0.00, 0.0, 0}, 1.3, 0.045},
    {"jʎɲ", {0.18, 0.60, 0.00, 0.60, 0.1, 0}, 0.8, 0.040},
    {"pbm", {0.00, 0.00, 0.05, 0.00, 0.0, 0}, 7.0, 0.030},
    {"fvʋɱ", {0.07, 0.15, 0.00, 1.00, 0.0, 1}, 5.0, 0.030},
    {"βɸ", {0.05, 0.00, 0.20, 0.10, 0.0, 0}, 4.0, 0.030},
    {"θð", {0.18, 0.20, 0.00, 0.70, 1.0, 0}, 2.0, 0.035},
    {"l", {0.26, 0.20, 0.00, 0.50, 0.9, 0}, 1.4, 0.035},
    {"tdn", {0.17, 0.20, 0.00, 0.75, 0.6, 0}, 1.4, 0.035},
    {"sz", {0.09, 0.45, 0.00, 1.00, 0.0, 0}, 2.2, 0.035},
    {"ʃʒɕʑ", {0.13, 0.00, 0.70, 1.00, 0.0, 0}, 2.2, 0.040},
    {"rɹɾɻʁʀ", {0.22, 0.00, 0.35, 0.30, 0.2, 0}, 0.8, 0.040},
    {"kɡgŋxçɣqχħcɟ", {0.25, 0.10, 0.00, 0.40, 0.0, 0}, 0.7, 0.040},
    {"hʔɦ", {0.30, 0.05, 0.00, 0.30, 0.0, 0}, 0.25, 0.030},
};
static const viseme rest = {"", {0, 0, 0, 0, 0, 0}, 1.6, 0.060};

static size_t letter_bytes(const char *s)
{
    size_t n = 1;
    while ((s[n] & 0xc0) == 0x80)
        n++;
    return n;
}

/* The letter at *text, which is advanced past it; NULL for marks of length, stress and such. */
static const viseme *next_viseme(const char **text)
{
    const char *at = *text;
    const size_t n = letter_bytes(at);
    *text += n;
    for (size_t i = 0; i < sizeof visemes / sizeof *visemes; i++)
        for (const char *s = visemes[i].symbols; *s; s += letter_bytes(s))
            if (letter_bytes(s) == n && !memcmp(s, at, n))
                return &visemes[i];
    return NULL;
}

typedef struct blend {
    double sum[6], weight;
} blend;

static void add(blend *b, const viseme *v, double from, double to, double time)
{
    double distance = fabs(time - (from + to) / 2) - (to - from) / 4;
    double w = v->dominance * exp(-fmax(distance, 0) / v->reach);
    const double values[6] = {v->mouth.open,  v->mouth.width,  v->mouth.round,
                              v->mouth.teeth, v->mouth.tongue, v->mouth.tuck};
    for (size_t k = 0; k < 6; k++)
        b->sum[k] += w * values[k];
    b->weight += w;
}

puppet_mouth puppet_mouth_at(const puppet_speech *s, double time)
{
    enum { LETTERS = 4 };
    blend b = {.weight = 1e-9};
    for (size_t i = 0; i < s->phone_count; i++) {
        const puppet_phone *p = &s->phones[i];
        if (p->end < time - 0.5 || p->start > time + 0.5)
            continue;
        const viseme *letters[LETTERS];
        size_t n = 0;
        for (const char *c = p->ipa; *c && n < LETTERS;) {
            letters[n] = next_viseme(&c);
            n += letters[n] != NULL;
        }
        if (!n && !*p->ipa)
            letters[n++] = &rest;
        for (size_t k = 0; k < n; k++) { // a diphthong passes through its letters
            double part = (p->end - p->start) / (double)n, from = p->start + (double)k * part;
            add(&b, letters[k], from, from + part, time);
        }
    }
    add(&b, &rest, -1, 0, time);
    double end = puppet_speech_seconds(s);
    add(&b, &rest, end, end + 1, time);
    for (size_t k = 0; k < 6; k++)
        b.sum[k] /= b.weight;
    return (puppet_mouth){
        fmax(0, (b.sum[0] - 0.04) / 0.96), b.sum[1], b.sum[2], b.sum[3], b.sum[4], b.sum[5]};
}
