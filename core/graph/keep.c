/* keep.c: what an inference makes from parameters alone, such as weights in the order in which kernels read them, is made once and kept: its steps
 * go to the front of the list, into segments of their own that run again only after a parameter was written, its tensors get buffers of their own. */
#include <stdlib.h>
#include <string.h>

#include "core/base/memory.h"
#include "core/graph/internal.h"

bool cdu_lowering_keeps(const cdu_lowering *l)
{
    return l->options.keep && !l->options.training;
}

static cdu_tensor root_of(const cdu_lowering *l, const cdu_use *use)
{
    return l->tensors[use->tensor].root;
}

/* Reads parameters and states alone, and is all that writes what it writes. */
static bool is_constant(const cdu_lowering *l, const cdu_draft *draft, const uint32_t *writers)
{
    bool reads = false;
    for (uint32_t u = 0; u < draft->uses; u++) {
        cdu_tensor root = root_of(l, &draft->use[u]);
        const cdu_tensor_record *tensor = &l->tensors[root];
        bool given = tensor->place == CDU_PLACE_ARENA && draft->use[u].access == CDU_READ;
        bool made = tensor->place == CDU_PLACE_PLANNED && draft->use[u].access == CDU_WRITE && writers[root] == 1;
        if (!given && !made) return false;
        reads = reads || given;
    }
    return reads;
}

static void find_lives(cdu_lowering *l)
{
    for (size_t t = 0; t < l->tensor_count; t++) l->tensors[t].first = UINT32_MAX, l->tensors[t].last = 0;
    for (uint32_t d = 0; d < l->draft_count; d++)
        for (uint32_t u = 0; u < l->drafts[d].uses; u++) {
            cdu_tensor_record *root = &l->tensors[root_of(l, &l->drafts[d].use[u])];
            if (d < root->first) root->first = d;
            if (d > root->last) root->last = d;
        }
}

/* Constant drafts first, both kinds in their order. */
static void put_in_front(cdu_lowering *l, const bool *constant, cdu_draft *all)
{
    size_t front = 0, behind = l->kept;
    for (size_t d = 0; d < l->draft_count; d++) all[constant[d] ? front++ : behind++] = l->drafts[d];
    memcpy(l->drafts, all, l->draft_count * sizeof *all);
}

cdu_status cdu_lower_keep(cdu_lowering *l, cdu_error *error)
{
    uint32_t *writers = NULL;
    bool *constant = NULL;
    cdu_draft *all = NULL;
    if (!cdu_lowering_keeps(l) || l->cut_count) return CDU_OK;
    cdu_status status = cdu_allocate(&writers, l->tensor_count + 1, sizeof *writers, error);
    if (status == CDU_OK) status = cdu_allocate(&constant, l->draft_count + 1, sizeof *constant, error);
    if (status == CDU_OK) status = cdu_allocate(&all, l->draft_count + 1, sizeof *all, error);
    for (size_t d = 0; status == CDU_OK && d < l->draft_count; d++)
        for (uint32_t u = 0; u < l->drafts[d].uses; u++)
            writers[root_of(l, &l->drafts[d].use[u])] += l->drafts[d].use[u].access & CDU_WRITE ? 1 : 0;
    for (size_t d = 0; status == CDU_OK && d < l->draft_count; d++) l->kept += constant[d] = is_constant(l, &l->drafts[d], writers);
    for (size_t d = 0; status == CDU_OK && d < l->draft_count; d++)
        for (uint32_t u = 0; constant[d] && u < l->drafts[d].uses; u++)
            if (l->drafts[d].use[u].access & CDU_WRITE) l->tensors[root_of(l, &l->drafts[d].use[u])].place = CDU_PLACE_KEPT;
    if (status == CDU_OK) {
        put_in_front(l, constant, all);
        find_lives(l);
    }
    free(writers);
    free(constant);
    free(all);
    return status;
}
