// A plugin for qemu-user 4.2 and later: counts the instructions of the guest and prints their number at its end.
//   cc -shared -fPIC -O2 count.c -o count.so; qemu-aarch64 -plugin ./count.so PROGRAM
// The declarations are those of version 1 of QEMU's plugin interface, whose header distributions do not install.
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

typedef uint64_t qemu_plugin_id_t;
struct qemu_plugin_tb;
struct qemu_info_t;
enum qemu_plugin_op { QEMU_PLUGIN_INLINE_ADD_U64 };

void qemu_plugin_register_vcpu_tb_trans_cb(qemu_plugin_id_t id, void (*callback)(qemu_plugin_id_t, struct qemu_plugin_tb *));
void qemu_plugin_register_vcpu_tb_exec_inline(struct qemu_plugin_tb * block, enum qemu_plugin_op op, void * where, uint64_t value);
void qemu_plugin_register_atexit_cb(qemu_plugin_id_t id, void (*callback)(qemu_plugin_id_t, void *), void * data);
size_t qemu_plugin_tb_n_insns(const struct qemu_plugin_tb * block);

__attribute__((visibility("default"))) int qemu_plugin_version = 1;

static uint64_t count;

// Each time a block of code is run, the instructions in it are added.
static void on_translation(qemu_plugin_id_t id, struct qemu_plugin_tb * block) {
    (void) id;
    qemu_plugin_register_vcpu_tb_exec_inline(block, QEMU_PLUGIN_INLINE_ADD_U64, &count, qemu_plugin_tb_n_insns(block));
}

static void on_exit_of_guest(qemu_plugin_id_t id, void * data) {
    (void) id;
    (void) data;
    fprintf(stderr, "instructions %llu\n", (unsigned long long) count);
}

__attribute__((visibility("default"))) int qemu_plugin_install(qemu_plugin_id_t id, const struct qemu_info_t * info, int argc, char ** argv) {
    (void) info;
    (void) argc;
    (void) argv;
    qemu_plugin_register_vcpu_tb_trans_cb(id, on_translation);
    qemu_plugin_register_atexit_cb(id, on_exit_of_guest, NULL);
    return 0;
}
