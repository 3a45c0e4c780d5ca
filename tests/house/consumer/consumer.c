/* consumer.c: the smallest program that uses the library: lists the devices, and shows how errors come back. */
#include <stdio.h>
#include <stdlib.h>

#include <cdunet/device.h>
#include <cdunet/slide.h>

int main(void)
{
    cdu_error error = {0};
    cdu_device_row *devices = NULL;
    uint32_t count = 0;
    char missing[512] = "";
    if (cdu_devices_list(false, &devices, &count, missing, sizeof missing, &error) != CDU_OK) {
        fprintf(stderr, "%s\n", error.words);
        return (int)error.status;
    }
    for (uint32_t i = 0; i < count; i++) printf("%s: %s\n", devices[i].id, devices[i].info.name);
    if (missing[0]) printf("missing: %s\n", missing);
    free(devices);

    cdu_slide *slide = NULL;
    if (cdu_slide_open("there-is-no-such-slide.svs", 0, &slide, &error) == CDU_OK) return 1;
    printf("as expected: %s\n", error.words);
    return error.status == CDU_BAD_DATA ? 0 : 1;
}
