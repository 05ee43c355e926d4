/* A module of the kernel, as far as depmod and modprobe look at it. */
#define MODINFO(name, text) \
	static const char name[] __attribute__((section(".modinfo"), used)) = text
MODINFO(license, "license=GPL");
MODINFO(alias, "alias=demo-alias");
