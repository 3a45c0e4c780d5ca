/* assign.c: which device each of several ranks takes: names first, then a card for every rank that leaves the choice. Knows nothing of how the
 * ranks told each other what they see, and opens no device. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "backends/backend.h"
#include "backends/select.h"
#include "core/base/memory.h"

static const uint32_t NONE = UINT32_MAX;

/* A card of a machine, whatever runtimes show it; all processors of a machine are one. */
typedef struct {
    uint32_t seat, row;         /* where it was first seen */
    uint32_t owner;             /* the rank that chose it, or NONE */
    uint32_t users;             /* ranks that named it, or share it */
} card;

typedef struct { uint32_t row, card; } candidate;

typedef struct {
    const cdu_gpu_seat *seats;
    uint32_t size;
    card *cards;
    size_t count, capacity;
    uint32_t *row;              /* of each rank's choice, or NONE */
    uint32_t *used;             /* its card, or NONE */
    candidate *candidates;      /* of all ranks that leave the choice, the best first */
    size_t candidate_count, candidate_capacity;
    size_t *first;              /* rank r has [first[r], first[r + 1]) */
    bool *visited;              /* cards */
} assignment;

static bool one_machine(const assignment *a, uint32_t x, uint32_t y)
{
    return !strcmp(a->seats[x].machine, a->seats[y].machine);
}

static bool same_card(const cdu_device_row *a, const cdu_device_row *b)
{
    if (a->info.kind == CDU_CPU || b->info.kind == CDU_CPU) return a->info.kind == b->info.kind;
    if (a->info.uuid[0] || b->info.uuid[0]) return !strcmp(a->info.uuid, b->info.uuid);
    return !strcmp(a->id, b->id) && !strcmp(a->info.driver, b->info.driver);
}

static cdu_status card_of(assignment *a, uint32_t seat, uint32_t row, uint32_t *out, cdu_error *error)
{
    for (size_t i = 0; i < a->count; i++) {
        const card *c = &a->cards[i];
        if (one_machine(a, c->seat, seat) && same_card(&a->seats[c->seat].rows[c->row], &a->seats[seat].rows[row]))
            return *out = (uint32_t)i, CDU_OK;
    }
    CDU_TRY(cdu_grow(&a->cards, &a->capacity, a->count + 1, sizeof *a->cards, error));
    a->cards[a->count] = (card){.seat = seat, .row = row, .owner = NONE};
    *out = (uint32_t)a->count++;
    return CDU_OK;
}

/* ---- names ---- */

static cdu_status entry_of(const assignment *a, uint32_t rank, char *out, size_t size, cdu_error *error)
{
    const cdu_gpu_seat *seat = &a->seats[rank];
    const char *list = seat->list && *seat->list ? seat->list : "auto", *at = list;
    uint32_t entries = 1, here = 0, place = 0, wanted;
    for (const char *c = list; *c; c++) entries += *c == ',';
    for (uint32_t i = 0; i < a->size; i++)
        if (one_machine(a, i, rank)) place += i < rank, here++;
    if (entries == 1) wanted = 0;
    else if (entries == a->size) wanted = rank;
    else if (entries == here) wanted = place;
    else
        return cdu_fail(error, CDU_USAGE, "--device %s: %u devices are named; %u ranks, %u of them on %s, need one for all, one for each, or "
                        "one for each on its machine", list, entries, a->size, here, seat->host);
    for (uint32_t i = 0; i < wanted; i++) at += strcspn(at, ",") + 1;
    snprintf(out, size, "%.*s", (int)strcspn(at, ","), at);
    return *out ? CDU_OK : cdu_fail(error, CDU_USAGE, "--device %s: nothing is named for rank %u", list, rank);
}

static cdu_status refuse_shared(const assignment *a, uint32_t rank, cdu_error *error)
{
    const cdu_gpu_seat *seats = a->seats;
    uint32_t other = 0;
    while (a->used[other] != a->used[rank]) other++;
    const cdu_device_row *mine = &seats[rank].rows[a->row[rank]], *theirs = &seats[other].rows[a->row[other]];
    if (!strcmp(mine->id, theirs->id))
        return cdu_fail(error, CDU_USAGE, "ranks %u and %u, both on %s, would have one card, %s (%s): name others, or share it with --oversubscribe",
                        other, rank, seats[rank].host, mine->id, mine->info.name);
    return cdu_fail(error, CDU_USAGE, "ranks %u and %u, both on %s, would have one card: %s (%s) and %s (%s) are the same (%s); name others, or "
                    "share it with --oversubscribe", other, rank, seats[rank].host, theirs->id, theirs->info.name, mine->id, mine->info.name,
                    mine->info.uuid);
}

/* What is named; *open: the rank leaves the choice. */
static cdu_status take_named(assignment *a, uint32_t rank, bool oversubscribe, char id[24], bool *open, cdu_error *error)
{
    const cdu_gpu_seat *seat = &a->seats[rank];
    char name[128];
    CDU_TRY(entry_of(a, rank, name, sizeof name, error));
    *open = !strcmp(name, "auto");
    if (*open) return CDU_OK;
    if (!strncmp(name, "null:", 5)) return snprintf(id, 24, "%.23s", name), CDU_OK; /* never listed, and no card */
    if (cdu_select(seat->rows, seat->count, name, &a->row[rank], error) != CDU_OK)
        return cdu_error_prefix(error, "rank %u on %s", rank, seat->host);
    const cdu_device_row *row = &seat->rows[a->row[rank]];
    memcpy(id, row->id, sizeof row->id);
    CDU_TRY(card_of(a, rank, a->row[rank], &a->used[rank], error));
    if (a->cards[a->used[rank]].users++ && row->info.kind != CDU_CPU && !oversubscribe) return refuse_shared(a, rank, error);
    return CDU_OK;
}

/* ---- choices ---- */

static bool has_gpu(const assignment *a, uint32_t rank)
{
    for (uint32_t r = 0; r < a->size; r++)
        for (uint32_t i = 0; one_machine(a, r, rank) && i < a->seats[r].count; i++)
            if (a->seats[r].rows[i].info.kind != CDU_CPU) return true;
    return false;
}

/* How a GPU tells which card it is: PCI address 2, UUID 1, not at all 0. */
static int form(const cdu_device_row *row)
{
    return !row->info.uuid[0] ? 0 : strncmp(row->info.uuid, "pci ", 4) ? 1 : 2;
}

/* Whether a rank may choose the row. Two GPUs that do not tell in the same form may be one card: only the rows of the best form count, and
 * where none tells, only those of the first one's driver. */
static bool choosable(const cdu_gpu_seat *seat, const cdu_device_row *row, bool gpu)
{
    const cdu_device_row *first = NULL;
    int best = 0;
    if (!gpu) return true;
    if (row->info.kind == CDU_CPU) return false;
    for (uint32_t i = 0; i < seat->count; i++) {
        const cdu_device_row *other = &seat->rows[i];
        if (other->info.kind == CDU_CPU) continue;
        if (!first) first = other;
        if (form(other) > best) best = form(other);
    }
    return form(row) == best && (best || !strcmp(row->info.driver, first->info.driver));
}

/* The cards that a rank may choose, each once, by the row that is the best way to it. */
static cdu_status list_candidates(assignment *a, uint32_t rank, cdu_error *error)
{
    const cdu_gpu_seat *seat = &a->seats[rank];
    bool gpu = has_gpu(a, rank);
    size_t begin = a->candidate_count;
    for (uint32_t i = 0; i < seat->count; i++) {
        candidate new = {.row = i};
        if (!choosable(seat, &seat->rows[i], gpu)) continue;
        CDU_TRY(card_of(a, rank, i, &new.card, error));
        CDU_TRY(cdu_grow(&a->candidates, &a->candidate_capacity, a->candidate_count + 1, sizeof *a->candidates, error));
        size_t at = begin;
        while (at < a->candidate_count && a->candidates[at].card != new.card) at++;
        if (at < a->candidate_count) { /* the card is there by another row */
            if (cdu_select_rank(&seat->rows[i]) >= cdu_select_rank(&seat->rows[a->candidates[at].row])) continue;
            memmove(&a->candidates[at], &a->candidates[at + 1], (--a->candidate_count - at) * sizeof new);
        }
        at = a->candidate_count++;
        for (; at > begin && cdu_select_rank(&seat->rows[i]) < cdu_select_rank(&seat->rows[a->candidates[at - 1].row]); at--)
            a->candidates[at] = a->candidates[at - 1];
        a->candidates[at] = new;
    }
    return CDU_OK;
}

/* A free card, or one whose owner can go to another (Kuhn's augmenting paths), so that nobody is left without who need not be. */
static bool match(assignment *a, uint32_t rank)
{
    for (int moving = 0; moving < 2; moving++)
        for (size_t i = a->first[rank]; i < a->first[rank + 1]; i++) {
            const candidate *c = &a->candidates[i];
            card *at = &a->cards[c->card];
            if (at->users || (moving ? a->visited[c->card] : at->owner != NONE)) continue;
            a->visited[c->card] = true;
            if (at->owner != NONE && !match(a, at->owner)) continue;
            at->owner = rank;
            a->row[rank] = c->row;
            return true;
        }
    return false;
}

static cdu_status too_few(const assignment *a, uint32_t rank, cdu_error *error)
{
    const cdu_gpu_seat *seat = &a->seats[rank];
    uint32_t here = 0, devices = 0;
    char there[512] = "";
    for (uint32_t i = 0; i < a->size; i++) here += one_machine(a, i, rank);
    for (size_t i = a->first[rank]; i < a->first[rank + 1]; i++, devices++) {
        const cdu_device_row *row = &seat->rows[a->candidates[i].row];
        size_t used = strlen(there);
        snprintf(there + used, sizeof there - used, "%s%s (%s)", used ? ", " : "", row->id, row->info.name);
    }
    return cdu_fail(error, CDU_NO_DEVICE, "%s has %u device%s for %u ranks: %s; rank %u gets none. Start fewer ranks there, name devices with --device, "
                    "or let ranks share with --oversubscribe", seat->host, devices, devices == 1 ? "" : "s", here, there, rank);
}

static cdu_status take_chosen(assignment *a, uint32_t rank, bool oversubscribe, cdu_error *error)
{
    if (a->first[rank] == a->first[rank + 1]) {
        uint32_t none = 0;
        if (a->seats[rank].count)
            return cdu_fail(error, CDU_NO_DEVICE, "rank %u on %s sees no GPU where others on that machine do: check what it may see, or name a device",
                            rank, a->seats[rank].host);
        cdu_select(a->seats[rank].rows, 0, NULL, &none, error);
        return cdu_error_prefix(error, "rank %u on %s", rank, a->seats[rank].host);
    }
    for (size_t i = 0; i < a->count; i++) a->visited[i] = false;
    if (match(a, rank)) return CDU_OK;
    return oversubscribe ? CDU_OK : too_few(a, rank, error);
}

/* Those left over go where the fewest are. */
static void share(assignment *a, uint32_t rank)
{
    const candidate *best = NULL;
    for (size_t i = a->first[rank]; i < a->first[rank + 1]; i++) {
        const candidate *c = &a->candidates[i];
        if (!best || a->cards[c->card].users < a->cards[best->card].users) best = c;
    }
    a->row[rank] = best->row;
    a->cards[best->card].users++;
}

static cdu_status assign(assignment *a, bool oversubscribe, char (*ids)[24], cdu_error *error)
{
    bool open = false;
    for (uint32_t r = 0; r < a->size; r++) a->row[r] = a->used[r] = NONE, ids[r][0] = 0;
    for (uint32_t r = 0; r < a->size; r++) CDU_TRY(take_named(a, r, oversubscribe, ids[r], &open, error));
    for (uint32_t r = 0; r < a->size; r++) {
        a->first[r] = a->candidate_count;
        if (!ids[r][0]) CDU_TRY(list_candidates(a, r, error));
    }
    a->first[a->size] = a->candidate_count;
    CDU_TRY(cdu_allocate(&a->visited, a->count ? a->count : 1, sizeof *a->visited, error));
    for (uint32_t r = 0; r < a->size; r++)
        if (!ids[r][0]) CDU_TRY(take_chosen(a, r, oversubscribe, error));
    for (size_t i = 0; i < a->count; i++) a->cards[i].users += a->cards[i].owner != NONE;
    for (uint32_t r = 0; r < a->size; r++)
        if (!ids[r][0] && a->row[r] == NONE) share(a, r);
    for (uint32_t r = 0; r < a->size; r++)
        if (!ids[r][0]) memcpy(ids[r], a->seats[r].rows[a->row[r]].id, sizeof ids[r]);
    return CDU_OK;
}

cdu_status cdu_gpu_assign(const cdu_gpu_seat *seats, uint32_t size, bool oversubscribe, char (*ids)[24], cdu_error *error)
{
    assignment a = {.seats = seats, .size = size};
    cdu_status status = cdu_allocate(&a.row, size, sizeof *a.row, error);
    if (status == CDU_OK) status = cdu_allocate(&a.used, size, sizeof *a.used, error);
    if (status == CDU_OK) status = cdu_allocate(&a.first, (size_t)size + 1, sizeof *a.first, error);
    if (status == CDU_OK) status = assign(&a, oversubscribe, ids, error);
    free(a.row);
    free(a.used);
    free(a.first);
    free(a.cards);
    free(a.candidates);
    free(a.visited);
    return status;
}
