#include "puppet.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#ifdef HAVE_ESPEAK
#include <espeak-ng/speak_lib.h>
#endif

void puppet_speech_free(puppet_speech *s)
{
    free(s->samples);
    free(s->phones);
    *s = (puppet_speech){0};
}

double puppet_speech_seconds(const puppet_speech *s)
{
    return s->rate ? (double)s->count / s->rate : 0;
}

static bool add_phone(puppet_speech *s, double start, const char *ipa)
{
    if ((s->phone_count & (s->phone_count - 1)) == 0) {
        size_t room = s->phone_count ? 2 * s->phone_count : 1;
        puppet_phone *grown = realloc(s->phones, room * sizeof *grown);
        if (!grown)
            return false;
        s->phones = grown;
    }
    if (s->phone_count)
        s->phones[s->phone_count - 1].end = start;
    puppet_phone *p = &s->phones[s->phone_count++];
    *p = (puppet_phone){.start = start, .end = start};
    snprintf(p->ipa, sizeof p->ipa, "%s", ipa);
    return true;
}

#ifdef HAVE_ESPEAK
typedef struct hearing {
    puppet_speech *speech;
    size_t room;
    bool failed;
} hearing;

static int hear(short *wave, int n, espeak_EVENT *events)
{
    hearing *h = events->user_data;
    puppet_speech *s = h->speech;
    for (; events->type != espeakEVENT_LIST_TERMINATED; events++)
        if (events->type == espeakEVENT_PHONEME) {
            char ipa[sizeof events->id.string + 1] = {0};
            memcpy(ipa, events->id.string, sizeof events->id.string);
            const char *name = ipa; /* version 1.52 puts the stress before it */
            while (!strncmp(name, "\xcb\x88", 2) || !strncmp(name, "\xcb\x8c", 2))
                name += 2;
            bool pause = *name == '_' || *name == ' ' || *name == '\0';
            h->failed |= !add_phone(s, events->audio_position / 1000.0, pause ? "" : name);
        }
    if (!wave || n <= 0)
        return h->failed;
    while (h->room < s->count + (size_t)n) {
        h->room = h->room ? 2 * h->room : 1 << 16;
        int16_t *grown = realloc(s->samples, h->room * sizeof *grown);
        if (!grown) {
            h->failed = true;
            return 1;
        }
        s->samples = grown;
    }
    memcpy(s->samples + s->count, wave, (size_t)n * sizeof *wave);
    s->count += (size_t)n;
    return h->failed;
}

bool puppet_say(puppet_speech *s, const char *text, const char *voice, int rate, int pitch)
{
    static int sample_rate; /* of the one synthesizer of a process */
    *s = (puppet_speech){0};
    if (!sample_rate)
        sample_rate =
            espeak_Initialize(AUDIO_OUTPUT_SYNCHRONOUS, 0, NULL,
                              espeakINITIALIZE_PHONEME_EVENTS | espeakINITIALIZE_PHONEME_IPA |
                                  espeakINITIALIZE_DONT_EXIT);
    if (sample_rate <= 0) {
        fprintf(stderr, "puppet: espeak-ng found no voices\n");
        return false;
    }
    hearing h = {.speech = s};
    s->rate = sample_rate;
    espeak_SetSynthCallback(hear);
    if (espeak_SetVoiceByName(voice) != EE_OK) {
        fprintf(stderr, "puppet: espeak-ng has no voice %s\n", voice);
        return false;
    }
    espeak_SetParameter(espeakRATE, rate, 0);
    espeak_SetParameter(espeakPITCH, pitch, 0);
    bool ok = add_phone(s, 0, "") &&
              espeak_Synth(text, strlen(text) + 1, 0, POS_CHARACTER, 0, espeakCHARS_UTF8, NULL,
                           &h) == EE_OK &&
              espeak_Synchronize() == EE_OK && !h.failed && s->count;
    if (ok)
        s->phones[s->phone_count - 1].end = puppet_speech_seconds(s);
    else
        fprintf(stderr, "puppet: espeak-ng could not say \"%s\"\n", text);
    return ok;
}
#else
bool puppet_say(puppet_speech *s, const char *text, const char *voice, int rate, int pitch)
{
    (void)s, (void)voice, (void)rate, (void)pitch;
    fprintf(stderr,
            "puppet: built without espeak-ng, cannot say \"%s\"; pass a recording with --speech "
            "and --phones\n",
            text);
    return false;
}
#endif

static void put(uint8_t *to, size_t bytes, uint32_t value)
{
    for (size_t i = 0; i < bytes; i++)
        to[i] = (uint8_t)(value >> 8 * i);
}

bool puppet_speech_save(const puppet_speech *s, const char *wav, const char *phones)
{
    uint8_t head[44] = "RIFF....WAVEfmt ";
    uint32_t bytes = (uint32_t)(s->count * 2);
    put(head + 4, 4, 36 + bytes);
    put(head + 16, 4, 16);
    put(head + 20, 2, 1); /* PCM, mono */
    put(head + 22, 2, 1);
    put(head + 24, 4, (uint32_t)s->rate);
    put(head + 28, 4, (uint32_t)s->rate * 2);
    put(head + 32, 2, 2);
    put(head + 34, 2, 16);
    memcpy(head + 36, "data", 4);
    put(head + 40, 4, bytes);
    FILE *f = fopen(wav, "wb");
    bool ok =
        f && fwrite(head, sizeof head, 1, f) == 1 && fwrite(s->samples, 2, s->count, f) == s->count;
    ok = f && !fclose(f) && ok;
    FILE *t = ok && phones ? fopen(phones, "w") : NULL;
    for (size_t i = 0; t && i < s->phone_count; i++)
        fprintf(t, "%.3f %.3f %s\n", s->phones[i].start, s->phones[i].end,
                *s->phones[i].ipa ? s->phones[i].ipa : "_");
    ok = ok && (!phones || (t && !fclose(t)));
    if (!ok)
        perror(wav);
    return ok;
}

bool puppet_speech_load(puppet_speech *s, const char *wav, const char *phones)
{
    uint8_t head[44];
    *s = (puppet_speech){0};
    FILE *f = fopen(wav, "rb"), *t = fopen(phones, "r");
    bool ok = f && t && fread(head, sizeof head, 1, f) == 1 && !memcmp(head, "RIFF", 4) &&
              !memcmp(head + 36, "data", 4) && head[22] == 1 && head[34] == 16;
    if (ok) {
        s->rate = head[24] | head[25] << 8 | head[26] << 16;
        size_t bytes = head[40] | (size_t)head[41] << 8 | (size_t)head[42] << 16;
        s->samples = malloc(bytes + 2);
        s->count = s->samples ? fread(s->samples, 2, bytes / 2, f) : 0;
        ok = s->count && s->rate;
    }
    char line[64], ipa[12];
    double start, end = 0;
    while (ok && fgets(line, sizeof line, t)) {
        ok = sscanf(line, "%lf %lf %11s", &start, &end, ipa) == 3 &&
             add_phone(s, start, strcmp(ipa, "_") ? ipa : "");
    }
    if (s->phone_count)
        s->phones[s->phone_count - 1].end = end;
    ok = ok && s->phone_count;
    if (f)
        fclose(f);
    if (t)
        fclose(t);
    if (!ok)
        fprintf(stderr, "puppet: cannot read %s (mono, 16 bits) or %s\n", wav, phones);
    return ok;
}
