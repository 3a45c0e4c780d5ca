/* table.c: the rows' registry and their arrays: shapes from the graph, numbers from Philox. run.h. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "ops/run.h"

enum { TABLES = 64 };
static struct { const cdu_op_row *rows; uint32_t count; } tables[TABLES];
static uint32_t table_count;

void cdu_op_register(const cdu_op_row *rows, uint32_t count)
{
    if (table_count == TABLES) abort();
    tables[table_count].rows = rows;
    tables[table_count++].count = count;
}

const cdu_op_row *cdu_op_row_at(uint32_t index)
{
    for (uint32_t t = 0; t < table_count; t++) {
        if (index < tables[t].count) return &tables[t].rows[index];
        index -= tables[t].count;
    }
    return NULL;
}

double cdu_op_gamma(double k)
{
    return k * CDU_OP_UNIT / (1 - k * CDU_OP_UNIT);
}

uint64_t cdu_op_at(const cdu_op_array *a, uint64_t n, uint64_t y, uint64_t x, uint64_t c)
{
    return ((n * a->dims[1] + y) * a->dims[2] + x) * a->dims[3] + c;
}

static void *zeros(uint64_t count, size_t size)
{
    void *memory = calloc(count ? count : 1, size);
    if (!memory) abort();
    return memory;
}

static cdu_op_array array_of(const cdu_value_info *info)
{
    cdu_op_array a = {.kind = info->kind, .integers = info->storage == CDU_U32, .count = 1};
    snprintf(a.name, sizeof a.name, "%s", info->name);
    for (int i = 0; i < 4; i++) a.dims[i] = 1;
    if (info->rank) memcpy(a.dims, info->dims, info->rank * sizeof *a.dims);
    else memcpy(a.dims, (uint32_t[]){info->shape.n, info->shape.h, info->shape.w, info->shape.c}, sizeof a.dims);
    for (int i = 0; i < 4; i++) a.count *= a.dims[i];
    a.u = zeros(a.count, sizeof *a.u);
    double **fields[] = {&a.v, &a.slack, &a.g, &a.g_slack, &a.after, &a.after_slack};
    for (size_t f = 0; f < sizeof fields / sizeof *fields; f++) *fields[f] = zeros(a.count, sizeof(double));
    return a;
}

static void fill_array(cdu_op_array *a, bool exact, cdu_random *random)
{
    bool variance = strstr(a->name, "var") != NULL && a->kind == CDU_VALUE_STATE;
    for (uint64_t i = 0; i < a->count; i++) {
        double x = exact ? (double)cdu_random_below(random, 9) - 4 : cdu_random_normal(random);
        a->v[i] = (float)(variance ? fabs(x) + 0.5 : x);
        a->u[i] = cdu_random_u32(random);
    }
}

void cdu_op_data_make(cdu_op_data *data, const cdu_op_row *row, const cdu_graph *graph, cdu_value out, bool exact, uint32_t seed)
{
    const cdu_node *node = cdu_graph_node(graph, (uint32_t)cdu_graph_value(graph, out)->node);
    *data = (cdu_op_data){.exact = exact};
    for (uint32_t i = 0; i < node->inputs; i++) data->in[data->ins++] = array_of(cdu_graph_value(graph, node->input[i]));
    for (uint32_t i = 0; i < node->outputs; i++) data->out[data->outs++] = array_of(cdu_graph_value(graph, node->output[i]));
    for (uint32_t i = 0; i < node->owned; i++) {
        const cdu_value_info *info = cdu_graph_value(graph, node->own[i]);
        if (info->kind == CDU_VALUE_PARAMETER || info->kind == CDU_VALUE_STATE) data->own[data->owns++] = array_of(info);
    }
    cdu_random random = cdu_random_stream(seed, CDU_RANDOM_TEST, 0, 0), seeds = cdu_random_stream(seed, CDU_RANDOM_TEST, 1, 0);
    for (uint32_t i = 0; i < data->ins; i++) fill_array(&data->in[i], exact, &random);
    for (uint32_t i = 0; i < data->owns; i++) fill_array(&data->own[i], exact, &random);
    if (row->fill) row->fill(row, data, &random);
    for (uint64_t i = 0; i < data->out[0].count; i++)
        data->out[0].g[i] = exact ? (double)cdu_random_below(&seeds, 9) - 4 : (double)(float)cdu_random_normal(&seeds);
}

static void free_array(cdu_op_array *a)
{
    void *fields[] = {a->u, a->v, a->slack, a->g, a->g_slack, a->after, a->after_slack};
    for (size_t f = 0; f < sizeof fields / sizeof *fields; f++) free(fields[f]);
}

void cdu_op_data_free(cdu_op_data *data)
{
    for (uint32_t i = 0; i < data->ins; i++) free_array(&data->in[i]);
    for (uint32_t i = 0; i < data->owns; i++) free_array(&data->own[i]);
    for (uint32_t i = 0; i < data->outs; i++) free_array(&data->out[i]);
}
