/* exchange.c: what several ranks tell each other in a training step, as places in the list of steps where the host acts: gradients are
 * summed in buckets, last layers first, while the device goes on with the layers before; rows of statistics are gathered between two segments.
 * How the bytes travel is the caller's business (cdu_exchanger). */
#include <string.h>

#include "core/base/memory.h"
#include "core/graph/internal.h"

uint32_t cdu_lowering_ranks(const cdu_lowering *l)
{
    return l->options.ranks > 1 ? l->options.ranks : 1;
}

uint64_t cdu_lowering_images(const cdu_lowering *l, uint64_t mine)
{
    return cdu_lowering_ranks(l) > 1 ? l->options.images : mine;
}

bool cdu_lowering_synchronized(const cdu_lowering *l)
{
    return cdu_lowering_ranks(l) > 1 && l->options.synchronized;
}

static cdu_status add_exchange(cdu_lowering *l, const cdu_exchange *exchange, cdu_error *error)
{
    CDU_TRY(cdu_grow(&l->exchanges, &l->exchange_capacity, l->exchange_count + 1, sizeof *l->exchanges, error));
    l->exchanges[l->exchange_count++] = *exchange;
    return CDU_OK;
}

cdu_status cdu_lower_gather(cdu_lowering *l, const char *label, uint32_t rows, uint32_t channels, uint32_t lanes, cdu_tensor *mine,
                            cdu_error *error)
{
    cdu_exchange exchange = {.all = CDU_NO_TENSOR, .rows = rows, .channels = channels, .lanes = lanes};
    CDU_TRY(cdu_lower_host(l, label, CDU_PLACE_HOST_READS, (uint64_t)rows * lanes, mine, error));
    exchange.mine = *mine;
    return add_exchange(l, &exchange, error);
}

cdu_status cdu_lower_gathered(cdu_lowering *l, cdu_tensor mine, cdu_tensor *all, cdu_error *error)
{
    for (size_t i = l->exchange_count; i-- > 0;) {
        cdu_exchange *exchange = &l->exchanges[i];
        if (exchange->sum || exchange->mine != mine) continue;
        uint64_t count = (uint64_t)exchange->rows * exchange->lanes * cdu_lowering_ranks(l);
        CDU_TRY(cdu_lower_host(l, l->tensors[mine].name, CDU_PLACE_HOST_WRITES, count, &exchange->all, error));
        exchange->ready = exchange->needed = (uint32_t)l->draft_count;
        *all = exchange->all;
        return cdu_lowering_cut(l, error);
    }
    return cdu_fail(error, CDU_FAILED, "rows are asked for that no rank gave");
}

static cdu_status copy(cdu_lowering *l, cdu_tensor from, cdu_tensor to, uint64_t count, cdu_error *error)
{
    cdu_draft draft = {.copy = true, .source = "", .kernel = "copy", .groups = {1, 1, 1}, .group_size = {1, 1, 1}, .label = "gradients copied", .bytes = 8.0 * (double)count};
    cdu_draft_use(&draft, from, CDU_READ, 0, 0);
    cdu_draft_use(&draft, to, CDU_WRITE, 0, 0);
    return cdu_append(l, &draft, error);
}

enum { MOST_BUCKETS = 32 }; /* a group takes no more than 64 sums at once */

/* Parameters lie in the arena in the order of nodes, and the backward pass goes through these from the last to the first: what is complete
 * is always the arena's end. */
cdu_status cdu_lower_buckets(cdu_lowering *l, const cdu_node *node, bool last, cdu_error *error)
{
    uint64_t wanted = (l->options.bucket ? l->options.bucket : CDU_BUCKET_BYTES) / 4, first = UINT64_MAX;
    uint64_t total = l->arena_elements[CDU_ARENA_GRADIENTS];
    if (cdu_lowering_ranks(l) == 1 || !total) return CDU_OK;
    if (wanted < total / MOST_BUCKETS) wanted = total / MOST_BUCKETS;
    if (!l->bucket_end && !last) l->bucket_end = total;
    for (uint32_t i = 0; node && i < node->owned; i++)
        if (cdu_graph_value(l->graph, node->own[i])->kind == CDU_VALUE_PARAMETER && l->values[node->own[i]].arena_offset < first)
            first = l->values[node->own[i]].arena_offset;
    if (last) first = 0;
    if (first >= l->bucket_end || (!last && (first == 0 || l->bucket_end - first < wanted))) return CDU_OK;
    cdu_exchange exchange = {.sum = true, .first = first, .count = l->bucket_end - first};
    cdu_tensor window;
    CDU_TRY(cdu_lower_host(l, "gradients", CDU_PLACE_HOST_READS, exchange.count, &exchange.mine, error));
    CDU_TRY(cdu_lower_arena_window(l, CDU_ARENA_GRADIENTS, first, exchange.count, &window, error));
    CDU_TRY(copy(l, window, exchange.mine, exchange.count, error));
    exchange.all = exchange.mine;
    exchange.ready = (uint32_t)l->draft_count;
    l->bucket_end = first;
    CDU_TRY(cdu_lowering_cut(l, error));
    return add_exchange(l, &exchange, error);
}

cdu_status cdu_lower_sums(cdu_lowering *l, cdu_error *error)
{
    if (cdu_lowering_ranks(l) == 1) return CDU_OK;
    CDU_TRY(cdu_lowering_cut(l, error));
    l->update = (uint32_t)l->draft_count;
    for (size_t i = 0; i < l->exchange_count; i++) {
        cdu_exchange *exchange = &l->exchanges[i];
        cdu_tensor window;
        if (!exchange->sum) continue;
        exchange->needed = l->update;
        CDU_TRY(cdu_lower_arena_window(l, CDU_ARENA_GRADIENTS, exchange->first, exchange->count, &window, error));
        CDU_TRY(copy(l, exchange->mine, window, exchange->count, error));
    }
    return CDU_OK;
}
