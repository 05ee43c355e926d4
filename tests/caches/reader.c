/* What programs find: `reader icon NAME…` asks GTK, `reader formats` asks gdk-pixbuf. Their headers
   are not needed to build it. */
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void *library(const char *name)
{
	void *found = dlopen(name, RTLD_NOW | RTLD_GLOBAL);
	if (!found) {
		fprintf(stderr, "%s\n", dlerror());
		exit(2);
	}
	return found;
}

struct list {
	void *data;
	struct list *next;
};

int main(int argc, char **argv)
{
	if (argc > 1 && !strcmp(argv[1], "icon")) {
		void *gtk = library("libgtk-3.so.0");
		void *(*new)(void) = dlsym(gtk, "gtk_icon_theme_new");
		void (*choose)(void *, const char *) = dlsym(gtk, "gtk_icon_theme_set_custom_theme");
		int (*has)(void *, const char *) = dlsym(gtk, "gtk_icon_theme_has_icon");
		void *theme = new();
		choose(theme, "hicolor");
		for (int i = 2; i < argc; i++)
			printf("%s ", has(theme, argv[i]) ? argv[i] : "missing");
		puts("");
	} else {
		void *pixbuf = library("libgdk_pixbuf-2.0.so.0");
		struct list *(*formats)(void) = dlsym(pixbuf, "gdk_pixbuf_get_formats");
		char *(*name)(void *) = dlsym(pixbuf, "gdk_pixbuf_format_get_name");
		for (struct list *format = formats(); format; format = format->next)
			puts(name(format->data));
	}
	return 0;
}
