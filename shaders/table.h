/* table.h: the embedded kernel texts, written by cmake/embed.cmake; ends with a null name. */
#ifndef CDU_SHADERS_TABLE_H
#define CDU_SHADERS_TABLE_H

typedef struct { const char *name, *text; } cdu_shader_row;
extern const cdu_shader_row cdu_shader_table[];

#endif
