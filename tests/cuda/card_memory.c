#include "card.h"

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#if defined __SANITIZE_ADDRESS__
#include <sanitizer/asan_interface.h>
#define FORBID(p, n) __asan_poison_memory_region(p, n)
#define ALLOW(p, n) __asan_unpoison_memory_region(p, n)
#else
#define FORBID(p, n) ((void)(p), (void)(n))
#define ALLOW(p, n) ((void)(p), (void)(n))
#endif

#define SPACE ((size_t)1 << 37) /* of addresses; more than is allocated in a card's life */
enum { ALIGNMENT = 256 };

static uint8_t *reserve(uintptr_t place)
{
    void *p =
        mmap((void *)place, SPACE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    return p == MAP_FAILED ? NULL : p;
}

/* Where other words of parameters are not taken for them, if the system lets us. */
static uint8_t *reserve_addresses(void)
{
    for (uintptr_t place = (uintptr_t)0x6b5c << 32, i = 0; i < 8; i++, place += SPACE) {
        uint8_t *const p = reserve(place);
        if ((uintptr_t)p == place)
            return p;
        if (p)
            munmap(p, SPACE);
    }
    return reserve(0);
}

int card_memory_open(card_memory *m, size_t total)
{
    *m = (card_memory){.addresses = reserve_addresses(), .bytes = reserve(0), .total = total};
    if (m->addresses && m->bytes)
        return 0;
    card_memory_close(m);
    return CUDA_OUT_OF_MEMORY;
}

void card_memory_close(card_memory *m)
{
    for (size_t i = 0; i < m->count; i++)
        if (m->allocations[i].live)
            card_free(m, (uint64_t)(uintptr_t)m->addresses + m->allocations[i].offset);
    if (m->addresses)
        munmap(m->addresses, SPACE);
    if (m->bytes)
        munmap(m->bytes, SPACE);
    free(m->allocations);
    memset(m, 0, sizeof *m);
}

static size_t round_up(size_t n, size_t unit)
{
    return (n + unit - 1) / unit * unit;
}

/* Its pages; before and after them are some that nobody can use. */
static void pages_of(const allocation *a, size_t *from, size_t *to)
{
    const size_t page = (size_t)sysconf(_SC_PAGESIZE);
    *from = a->offset / page * page;
    *to = round_up(a->offset + a->bytes, page);
}

int card_alloc(card_memory *m, uint64_t *out, size_t bytes, bool filled)
{
    const size_t page = (size_t)sysconf(_SC_PAGESIZE);
    if (!bytes)
        return CUDA_INVALID_VALUE;
    if (bytes > m->total || round_up(bytes, ALIGNMENT) > m->total - m->used ||
        round_up(bytes, page) + 2 * page > SPACE - m->top)
        return CUDA_OUT_OF_MEMORY;
    allocation *more = realloc(m->allocations, (m->count + 1) * sizeof *more);
    if (!more)
        return CUDA_OUT_OF_MEMORY;
    m->allocations = more;
    const size_t from = m->top + page, to = from + round_up(bytes, page);
    uint8_t *const p = m->bytes + from;
    if (mmap(p, to - from, PROT_READ | PROT_WRITE,
             MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED, -1, 0) != p)
        return CUDA_OUT_OF_MEMORY;
    const size_t offset = to - round_up(bytes, ALIGNMENT); /* so that beyond its end is no page */
    ALLOW(p, to - from);
    if (filled)
        memset(p, 0xff, to - from);
    FORBID(p, offset - from);
    FORBID(m->bytes + offset + bytes, to - offset - bytes);
    m->top = to;
    m->used += round_up(bytes, ALIGNMENT);
    m->allocations[m->count++] = (allocation){offset, bytes, true};
    m->live++;
    *out = (uint64_t)(uintptr_t)m->addresses + offset;
    return 0;
}

/* The allocation with `address` in it or at its end; NULL if it is not a live one. */
static allocation *find(const card_memory *m, uint64_t address)
{
    const uint64_t offset = address - (uint64_t)(uintptr_t)m->addresses;
    size_t low = 0, high = m->count;
    while (low < high) {
        const size_t middle = (low + high) / 2;
        if (m->allocations[middle].offset <= offset)
            low = middle + 1;
        else
            high = middle;
    }
    allocation *const a = low ? &m->allocations[low - 1] : NULL;
    return a && a->live && offset <= a->offset + a->bytes ? a : NULL;
}

int card_free(card_memory *m, uint64_t address)
{
    allocation *const a = find(m, address);
    if (!a || address != (uint64_t)(uintptr_t)m->addresses + a->offset)
        return CUDA_INVALID_VALUE;
    size_t from, to;
    pages_of(a, &from, &to);
    ALLOW(m->bytes + from, to - from);
    (void)!mmap(m->bytes + from, to - from, PROT_NONE,
                MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED, -1, 0);
    a->live = false;
    m->live--;
    m->used -= round_up(a->bytes, ALIGNMENT);
    return 0;
}

void *card_bytes(const card_memory *m, uint64_t address, size_t bytes)
{
    const allocation *const a = find(m, address);
    const uint64_t offset = address - (uint64_t)(uintptr_t)m->addresses;
    return a && bytes <= a->offset + a->bytes - offset ? m->bytes + offset : NULL;
}

bool card_translate(const card_memory *m, void *params, size_t size)
{
    for (size_t i = 0; i + sizeof(uint64_t) <= size; i += sizeof(uint64_t)) {
        uint64_t word;
        memcpy(&word, (char *)params + i, sizeof word);
        if (word - (uint64_t)(uintptr_t)m->addresses >= SPACE)
            continue;
        word = (uint64_t)(uintptr_t)card_bytes(m, word, 0);
        if (!word)
            return false;
        memcpy((char *)params + i, &word, sizeof word);
    }
    return true;
}
