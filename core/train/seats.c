/* seats.c: the ranks tell each other which machine they are on and which devices they see there, then all make the same choice
 * (backends/assign.c). */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "backends/backend.h"
#include "cdunet/log.h"
#include "core/base/memory.h"
#include "core/train/ranks.h"

enum { LIST_LIMIT = 2048 };

typedef struct {
    char machine[64], host[64], list[LIST_LIMIT];
    uint32_t count, oversubscribe;
} about;

typedef struct {
    cdu_device_row *rows;       /* this rank's */
    uint32_t count;
    about *ranks;
    cdu_device_row *all;        /* size x most */
    cdu_gpu_seat *seats;
    char (*ids)[24];
} hall;

/* What machines are told apart by: the number that a Linux system takes at its start, which containers on it share as they share its cards;
 * else the host's name. */
static void name_machine(about *mine)
{
    gethostname(mine->host, sizeof mine->host - 1);
    FILE *file = fopen("/proc/sys/kernel/random/boot_id", "r");
    if (!file || !fgets(mine->machine, sizeof mine->machine, file)) snprintf(mine->machine, sizeof mine->machine, "%s", mine->host);
    if (file) fclose(file);
}

static cdu_status look(hall *h, about *mine, const char *list, bool oversubscribe, uint32_t size, cdu_error *error)
{
    *mine = (about){.oversubscribe = oversubscribe};
    name_machine(mine);
    if (snprintf(mine->list, sizeof mine->list, "%s", list ? list : "auto") >= (int)sizeof mine->list)
        return cdu_fail(error, CDU_USAGE, "--device: a list of more than %d bytes; name devices by their places, opencl:0, or for one machine", LIST_LIMIT);
    CDU_TRY(cdu_allocate(&h->ranks, size, sizeof *h->ranks, error));
    CDU_TRY(cdu_allocate(&h->seats, size, sizeof *h->seats, error));
    CDU_TRY(cdu_allocate(&h->ids, size, sizeof *h->ids, error));
    CDU_TRY(cdu_gpu_list(&h->rows, &h->count, NULL, 0, error));
    mine->count = h->count;
    return CDU_OK;
}

static cdu_status gather_rows(hall *h, cdu_team *team, cdu_error *error)
{
    const cdu_ranks *g = &team->group;
    uint32_t most = 1;
    cdu_device_row *padded = NULL;
    for (uint32_t r = 0; r < team->size; r++)
        if (h->ranks[r].count > most) most = h->ranks[r].count;
    CDU_TRY(cdu_allocate(&h->all, (size_t)most * team->size, sizeof *h->all, error));
    CDU_TRY(cdu_allocate(&padded, most, sizeof *padded, error));
    if (h->count) memcpy(padded, h->rows, h->count * sizeof *padded);
    cdu_status status = g->kind->gather(g->group, padded, most * sizeof *padded, h->all, error);
    free(padded);
    for (uint32_t r = 0; r < team->size; r++)
        h->seats[r] = (cdu_gpu_seat){.machine = h->ranks[r].machine, .host = h->ranks[r].host, .list = h->ranks[r].list,
                                     .rows = h->all + (size_t)r * most, .count = h->ranks[r].count};
    return status;
}

static cdu_status name_ranks(const hall *h, cdu_team *team, cdu_error *error)
{
    CDU_TRY(cdu_allocate(&team->names, team->size, sizeof *team->names, error));
    for (uint32_t r = 0; r < team->size; r++) {
        const cdu_gpu_seat *seat = &h->seats[r];
        const char *name = "";
        for (uint32_t i = 0; i < seat->count; i++)
            if (!strcmp(seat->rows[i].id, h->ids[r])) name = seat->rows[i].info.name;
        if (team->rank == 0) cdu_log(CDU_LOG_INFO, "rank %u on %s takes %s%s%s", r, seat->host, h->ids[r], *name ? ": " : "", name);
        snprintf(team->names[r].words, sizeof team->names[r].words, "rank %u on %.60s (%s%s%.90s)", r, seat->host, h->ids[r], *name ? ": " : "", name);
    }
    return CDU_OK;
}

static cdu_status choose(hall *h, cdu_team *team, const char *list, bool oversubscribe, char *out, size_t size, cdu_error *error)
{
    about mine;
    CDU_TRY(cdu_team_agree(team, look(h, &mine, list, oversubscribe, team->size, error), NULL, error));
    CDU_TRY(team->group.kind->gather(team->group.group, &mine, sizeof mine, h->ranks, error));
    CDU_TRY(gather_rows(h, team, error));
    cdu_status status = cdu_gpu_assign(h->seats, team->size, h->ranks[0].oversubscribe, h->ids, error);
    team->agreed = status == CDU_NO_DEVICE || status == CDU_USAGE; /* all ranks find the same; memory may end on one */
    if (status != CDU_OK) return status;
    snprintf(out, size, "%s", h->ids[team->rank]);
    return name_ranks(h, team, error);
}

cdu_status cdu_team_device(cdu_team *team, const char *list, bool oversubscribe, char *out, size_t size, cdu_error *error)
{
    hall h = {0};
    snprintf(out, size, "%s", list ? list : "auto");
    if (team->size == 1) return CDU_OK;
    cdu_status status = choose(&h, team, list, oversubscribe, out, size, error);
    free(h.rows);
    free(h.ranks);
    free(h.all);
    free(h.seats);
    free(h.ids);
    return status;
}
