/* faults.c: bad input through the command line: the exit code, one line of error with the words that help, no file left. On the null
 * device, which computes nothing, so that only what stands around the network is tried. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

static char folder[256], complaint[8192];

static int shell(const char *command)
{
    int status = system(command);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

/* In the folder: `command`, where cdunet stands for the program; what it said is in complaint. */
static int run(const char *command)
{
    char line[2048];
    snprintf(line, sizeof line, "cd '%s' && cdunet() { '%s/cdunet' --quiet \"$@\"; } && { %s; } >/dev/null 2>err.txt", folder,
             CDUNET_BINARY_DIR, command);
    int code = shell(line);
    snprintf(line, sizeof line, "%s/err.txt", folder);
    FILE *file = fopen(line, "rb");
    cr_assert_not_null(file);
    complaint[fread(complaint, 1, sizeof complaint - 1, file)] = 0;
    fclose(file);
    return code;
}

/* A phantom study whose slides are small, and a network that was trained on nothing. */
static void make_study(void)
{
    snprintf(folder, sizeof folder, "%s/faults-XXXXXX", CDUNET_BINARY_DIR);
    cr_assert_not_null(mkdtemp(folder));
    cr_assert_eq(run("cdunet phantom p --slides 6 --stains he,cea --size 512x512 --seed 2"), 0, "%s", complaint);
    cr_assert_eq(
        run("sed -i 's/size: 128, stride: 64/size: 64, stride: 64/;s/width: 8, depth: 5/width: 4, depth: 3/' p/study.yaml"), 0);
    cr_assert_eq(run("cdunet train p/study.yaml --out r --device null:0 --max-steps 1"), 0, "%s", complaint);
    cr_assert_eq(run("cp -r p q"), 0);
}

static void remove_study(void)
{
    char command[300];
    snprintf(command, sizeof command, "rm -rf '%s'", folder);
    cr_assert_eq(shell(command), 0);
}

typedef struct {
    const char *damage, *command;
    int code;
    const char *words;
} fault;

#define TRAIN "cdunet train q/study.yaml --out new --device null:0 --max-steps 1"
#define EVALUATE "cdunet evaluate q/study.yaml --model r/model.safetensors --device null:0"
#define SEGMENT "cdunet segment q/slides/case02-he.tif --model r/model.safetensors --device null:0 --tile 64 --out new"

static const fault faults[] = {
    {"rm q/slides/case01-he.tif", TRAIN, 65, "q/slides.csv:2"},
    {"head -c 9000 p/slides/case01-he.tif >q/slides/case01-he.tif", TRAIN, 65, "q/slides/case01-he.tif: TIFF"},
    {"head -c 9000 p/slides/case02-he.tif >q/slides/case02-he.tif", EVALUATE, 65, "q/slides/case02-he.tif: TIFF"},
    {"head -c 9000 p/slides/case02-he.tif >q/slides/case02-he.tif", SEGMENT, 65, "q/slides/case02-he.tif: TIFF"},
    {"rm q/slides/case02-he.tif; mkfifo q/slides/case02-he.tif", SEGMENT, 65, "regular"},
    {"head -c 900 p/annotations/case01-he.geojson >q/annotations/case01-he.geojson", TRAIN, 65, "case01-he.geojson:"},
    {"sed -i 's/\"Tissue\"/\"Weird\"/' q/annotations/case01-he.geojson", TRAIN, 65, "class 'Weird'"},
    {"sed -i 's/  epochs/  epoch/' q/study.yaml", TRAIN, 65, "q/study.yaml:17: train.epoch"},
    {"sed -i 's/batch: 8/batch: many/' q/study.yaml", TRAIN, 65, "q/study.yaml:18: train.batch"},
    {"sed -i '3s/train/test/' q/slides.csv", TRAIN, 65, "'case01'"},
    {"rm q/study.yaml; mkfifo q/study.yaml", TRAIN, 65, "regular"},
    {"true", TRAIN " --width 0", 2, "--width"},
    {"true", TRAIN " --memory 1MiB", 75, "a limit of 1.0 MiB of memory is too small: on null this network and batch need at least "},
    {"true", EVALUATE " --memory 100KiB", 75, "a limit of 0.1 MiB of memory is too small"},
    {"true", SEGMENT " --memory 100KiB", 75, "use a smaller tile"},
    {"true", SEGMENT " --memory lots", 2, "'lots' is not an amount of memory"},
    {"sed -i 's/, Necrosis//;/Necrosis/d' q/study.yaml", EVALUATE, 65, "Necrosis"},
    {"true", EVALUATE " --masks none", 65, "none/case02-he.tif"},
    {"cp p/masks/* q/; cdunet phantom one --slides 1 --stains he --size 600x512; cp one/masks/* q/case02-he.tif",
     EVALUATE " --masks q", 65, "600 x 512"},
    {"true", EVALUATE " --json none/new", 73, "none/new"},
    {"true", EVALUATE " --json ./r/model.safetensors", 2, "named twice"},
    {"true", SEGMENT " --model none", 65, "none"},
    {"true", SEGMENT " --out ./q/../q/slides/case02-he.tif", 2, "named twice"},
    {"true", SEGMENT " --geojson none/new", 73, "none/new"},
    {"mkfifo q/pipe", SEGMENT " --overlay q/pipe", 73, "q/pipe"},
    {"true", SEGMENT " --out r", 73, "r: "},
    {"true", SEGMENT " --device opencl:99", 69, "opencl:99"},
    {"true", "cdunet train p/study.yaml --out r --device null:0", 2, "--resume"},
    {"true", "cdunet train p/study.yaml --out r --device null:0 --width 5 --resume", 2, "width=4"},
    {"true", "cdunet train p/study.yaml --out p/study.yaml --device null:0", 73, "p/study.yaml"},
};

Test(faults, one_line_the_right_code_and_nothing_left, .init = make_study, .fini = remove_study)
{
    alarm(100);
    for (size_t i = 0; i < sizeof faults / sizeof faults[0]; i++) {
        const fault *f = &faults[i];
        cr_assert_eq(run("rm -rf q new && cp -r p q"), 0);
        cr_assert_eq(run(f->damage), 0, "%s: %s", f->damage, complaint);
        int code = run(f->command);
        cr_expect_eq(code, f->code, "%s; %s: code %d, %s", f->damage, f->command, code, complaint);
        cr_expect(strstr(complaint, f->words), "%s; %s: %s", f->damage, f->command, complaint);
        char *end = strchr(complaint, '\n');
        cr_expect(end && !end[1] && !strncmp(complaint, "cdunet: ", 8), "%s; %s: not one line: %s", f->damage, f->command,
                  complaint);
        cr_expect_eq(run("! find . -name '*.part-*' | grep . && ! [ -f new ] && ! [ -f new/model.safetensors ]"), 0,
                     "%s; %s: left over", f->damage, f->command);
        cr_expect_eq(run("cmp q/slides/case02-cea.tif p/slides/case02-cea.tif"), 0);
    }
}
