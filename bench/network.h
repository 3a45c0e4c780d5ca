/* network.h: the whole network as a program, with numbers in it. */
#ifndef CDU_BENCH_NETWORK_H
#define CDU_BENCH_NETWORK_H

#include "bench/settings.h"
#include "core/model/model.h"

typedef struct { bool training, exact; uint32_t size, batch, width, ranks; } bench_network_settings;  /* ranks: programs that train together */

typedef struct {
    cdu_graph *graph;
    cdu_program *program;
} bench_network;

/* What a command line says of the network, for one that trains alone. */
bench_network_settings bench_network_of(const bench_settings *, bool training);

/* The paper's CD-UNET with `width` filters at first, random tiles and labels, class weights of 1, initial weights. */
cdu_status bench_network_open(const cdu_gpu *, const bench_network_settings *, bench_network *, cdu_error *);
void bench_network_close(bench_network *);

#endif
