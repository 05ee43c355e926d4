/* A loader of gdk-pixbuf for images of a format that nobody has; the types are those of
   gdk-pixbuf-io.h, as far as they are filled. */
struct pattern {
	char *prefix, *mask;
	int relevance;
};
struct format {
	char *name;
	struct pattern *signature;
	char *domain, *description, **mime_types, **extensions;
	unsigned flags;
	int disabled;
	char *license;
};
struct module {
	char *name, *path;
	void *module, *info, *load;
};

static struct pattern signature[] = { { "DEMO", 0, 100 }, { 0, 0, 0 } };
static char *mime_types[] = { "image/x-demo", 0 };
static char *extensions[] = { "demo", 0 };

static void *load(void *file, void **error)
{
	return 0;
}

void fill_vtable(struct module *module)
{
	module->load = load;
}

void fill_info(struct format *format)
{
	format->name = "demo";
	format->signature = signature;
	format->description = "Demo";
	format->mime_types = mime_types;
	format->extensions = extensions;
	format->license = "none";
}
