/* QEMU TCG plugin: what a stretch of firmware costs, exactly and whatever the host's load.
 *
 *   cc -O2 -shared -fPIC -o count.so count.c
 *   qemu-system-arm .. -plugin count.so,start=ADDR,stop=ADDR,ram=ADDR,ram_end=ADDR,out=FILE
 *
 * Counts from the return of the function at `start` to the call of the one at `stop`: instructions executed (one that fails
 * its condition counts), and distinct bytes of RAM read or written, stack included. Writes
 *
 *   instructions N
 *   ram N
 *   block ADDR N        instructions spent in the block of code that begins at ADDR
 *
 * A translated block is entered at its first instruction and, but for interrupts, left after its last; so counting blocks
 * counts instructions. The few declarations of QEMU's plugin interface stand here, so that building needs no header. */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef uint64_t plugin_id;
struct qemu_plugin_tb;
struct qemu_plugin_insn;
enum { NO_REGISTERS = 0, READS_AND_WRITES = 3 };
extern size_t qemu_plugin_tb_n_insns(const struct qemu_plugin_tb *);
extern uint64_t qemu_plugin_tb_vaddr(const struct qemu_plugin_tb *);
extern struct qemu_plugin_insn *qemu_plugin_tb_get_insn(const struct qemu_plugin_tb *, size_t);
extern unsigned qemu_plugin_mem_size_shift(uint32_t);
extern void qemu_plugin_register_vcpu_tb_trans_cb(plugin_id, void (*)(plugin_id, struct qemu_plugin_tb *));
extern void qemu_plugin_register_vcpu_tb_exec_cb(struct qemu_plugin_tb *, void (*)(unsigned, void *), int, void *);
extern void qemu_plugin_register_vcpu_mem_cb(struct qemu_plugin_insn *,
                                             void (*)(unsigned, uint32_t, uint64_t, void *), int, int, void *);
extern void qemu_plugin_register_atexit_cb(plugin_id, void (*)(plugin_id, void *), void *);

__attribute__((visibility("default"))) int qemu_plugin_version = 2;

/* A block of code. Blocks may be translated again, with another length; each gets an entry of its own. */
struct block {
    uint64_t address, length, runs;
    struct block *next;
};

static struct block *blocks;
static uint64_t start, stop, ram, ram_end;
static unsigned char *touched;
static bool counting;
static const char *out;

static void enter(unsigned cpu, void *data)
{
    struct block *block = data;
    (void)cpu;
    if (block->address == stop)
        counting = false;
    if (counting)
        block->runs++;
    if (block->address == start)
        counting = true;
}

static void touch(unsigned cpu, uint32_t info, uint64_t address, void *data)
{
    uint64_t bytes = 1u << qemu_plugin_mem_size_shift(info);
    (void)cpu, (void)data;
    if (counting && address >= ram && address + bytes <= ram_end)
        memset(touched + (address - ram), 1, bytes);
}

static void translate(plugin_id id, struct qemu_plugin_tb *tb)
{
    struct block *block = malloc(sizeof *block);
    size_t length = qemu_plugin_tb_n_insns(tb);
    (void)id;
    if (!block)
        abort();
    *block = (struct block){qemu_plugin_tb_vaddr(tb), length, 0, blocks};
    blocks = block;
    qemu_plugin_register_vcpu_tb_exec_cb(tb, enter, NO_REGISTERS, block);
    for (size_t i = 0; i < length; i++)
        qemu_plugin_register_vcpu_mem_cb(qemu_plugin_tb_get_insn(tb, i), touch, NO_REGISTERS, READS_AND_WRITES, NULL);
}

static void report(plugin_id id, void *data)
{
    FILE *file = fopen(out, "w");
    uint64_t instructions = 0, bytes = 0;
    (void)id, (void)data;
    if (!file)
        return;
    for (struct block *b = blocks; b; b = b->next)
        instructions += b->runs * b->length;
    for (uint64_t i = 0; i < ram_end - ram; i++)
        bytes += touched[i];
    fprintf(file, "instructions %llu\nram %llu\n", (unsigned long long)instructions, (unsigned long long)bytes);
    for (struct block *b = blocks; b; b = b->next)
        if (b->runs)
            fprintf(file, "block %llu %llu\n", (unsigned long long)b->address, (unsigned long long)(b->runs * b->length));
    fclose(file);
}

__attribute__((visibility("default"))) int qemu_plugin_install(plugin_id id, const void *info, int argc, char **argv)
{
    (void)info;
    for (int i = 0; i < argc; i++) {
        char *value = strchr(argv[i], '=');
        if (!value)
            return 1;
        *value++ = 0;
        uint64_t number = strtoull(value, NULL, 0);
        if (!strcmp(argv[i], "start"))
            start = number;
        else if (!strcmp(argv[i], "stop"))
            stop = number;
        else if (!strcmp(argv[i], "ram"))
            ram = number;
        else if (!strcmp(argv[i], "ram_end"))
            ram_end = number;
        else if (!strcmp(argv[i], "out"))
            out = strdup(value);
        else
            return 1;
    }
    if (!out || !start || !stop || ram_end <= ram)
        return 1;
    touched = calloc(1, ram_end - ram);
    if (!touched)
        return 1;
    qemu_plugin_register_vcpu_tb_trans_cb(id, translate);
    qemu_plugin_register_atexit_cb(id, report, NULL);
    return 0;
}
