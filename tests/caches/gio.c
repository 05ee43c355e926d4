/* A module of GIO that says when it is loaded. */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

void g_io_module_load(void *module)
{
	write(2, "demo loaded\n", 12);
}

void g_io_module_unload(void *module)
{
}

char **g_io_module_query(void)
{
	char **points = calloc(2, sizeof *points);
	points[0] = strdup("demo-point");
	return points;
}
