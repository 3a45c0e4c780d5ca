/* main.c: cdunet-bench. The measurements come with their own files; this one only chooses. */
#include <stdio.h>

int main(void)
{
    fprintf(stderr, "cdunet-bench: nothing to measure yet\n");
    return 2;
}
