// One matrix product of ggml on one thread: the weights as llama.cpp holds them (repacked where it offers that).
// usage: ggml_product TYPE m n k rounds [copies]      prints one line: TYPE m n k repacked|plain median_ms least_ms
// Without a number of copies of the weights there are so many, for one row, that they come from memory.
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <vector>

#include "ggml-alloc.h"
#include "ggml-backend.h"
#include "ggml-cpu.h"
#include "ggml.h"

static ggml_type type_of(const char * name) {
    for (int t = 0; t < GGML_TYPE_COUNT; t++) {
        if (ggml_type_name((ggml_type) t) && strcasecmp(ggml_type_name((ggml_type) t), name) == 0) return (ggml_type) t;
    }
    fprintf(stderr, "ggml has no type %s\n", name);
    exit(2);
}

// The median and the least time of the product, with the weights in memory of a kind; a negative one where it cannot.
static bool measure(ggml_backend_t backend, ggml_backend_buffer_type_t kind, ggml_type type, int64_t m, int64_t n,
                    int64_t k, int rounds, int copies, double & median, double & least) {
    const size_t bytes = ggml_row_size(type, k) * n;
    // So many that none is in a cache when its turn comes again.
    if (copies <= 0) copies = m == 1 ? (int) ((192u << 20) / bytes + 1) : 1;
    ggml_init_params params = { 16u << 20, nullptr, true };
    ggml_context * weights = ggml_init(params);
    ggml_context * rest = ggml_init(params);
    std::vector<ggml_tensor *> w(copies);
    for (auto & t : w) t = ggml_new_tensor_2d(weights, type, k, n);
    ggml_tensor * a = ggml_new_tensor_2d(rest, GGML_TYPE_F32, k, m);
    std::vector<ggml_cgraph *> graphs;
    for (auto & t : w) {
        ggml_cgraph * graph = ggml_new_graph_custom(rest, 8, false);
        ggml_build_forward_expand(graph, ggml_mul_mat(rest, t, a));
        graphs.push_back(graph);
    }
    ggml_backend_buffer_t buffer = ggml_backend_alloc_ctx_tensors_from_buft(weights, kind);
    ggml_backend_buffer_t other = ggml_backend_alloc_ctx_tensors(rest, backend);
    bool can = buffer && other && ggml_backend_supports_op(backend, ggml_graph_node(graphs[0], 0));
    if (can) {
        std::vector<float> values(n * k);
        for (size_t i = 0; i < values.size(); i++) values[i] = (float) (i * 7919 % 1009) / 1009 - 0.5f;
        ggml_backend_tensor_set(a, values.data(), 0, sizeof(float) * m * k);
        std::vector<char> blocks(bytes);
        ggml_quantize_chunk(type, values.data(), blocks.data(), 0, n, k, nullptr);
        for (auto & t : w) ggml_backend_tensor_set(t, blocks.data(), 0, bytes);
        std::vector<double> times;
        for (int round = -1; round < rounds; round++) {
            for (auto graph : graphs) {
                auto start = std::chrono::steady_clock::now();
                if (ggml_backend_graph_compute(backend, graph) != GGML_STATUS_SUCCESS) exit(3);
                std::chrono::duration<double, std::milli> time = std::chrono::steady_clock::now() - start;
                if (round >= 0) times.push_back(time.count());
            }
        }
        std::sort(times.begin(), times.end());
        median = times[times.size() / 2];
        least = times[0];
    }
    if (buffer) ggml_backend_buffer_free(buffer);
    if (other) ggml_backend_buffer_free(other);
    ggml_free(weights);
    ggml_free(rest);
    return can;
}

int main(int argc, char ** argv) {
    if (argc < 6 || argc > 7) {
        fprintf(stderr, "usage: ggml_product TYPE m n k rounds [copies]\n");
        return 2;
    }
    const ggml_type type = type_of(argv[1]);
    const int64_t m = atoll(argv[2]), n = atoll(argv[3]), k = atoll(argv[4]);
    const int rounds = atoi(argv[5]), copies = argc == 7 ? atoi(argv[6]) : 0;
    ggml_backend_t backend = ggml_backend_cpu_init();
    ggml_backend_cpu_set_n_threads(backend, 1);
    auto report = [&](const char * how, ggml_backend_buffer_type_t kind) {
        double median, least;
        if (!measure(backend, kind, type, m, n, k, rounds, copies, median, least)) return false;
        printf("%s %lld %lld %lld %s %.4f %.4f\n", argv[1], (long long) m, (long long) n, (long long) k, how, median, least);
        return true;
    };
    // As llama.cpp does: the first special kind of memory that takes the operation, else the plain one.
    auto device = ggml_backend_get_device(backend);
    auto registry = ggml_backend_dev_backend_reg(device);
    auto kinds = (ggml_backend_dev_get_extra_bufts_t) ggml_backend_reg_get_proc_address(registry, "ggml_backend_dev_get_extra_bufts");
    bool done = false;
    for (auto kind = kinds ? kinds(device) : nullptr; kind && *kind && !done; kind++) done = report("repacked", *kind);
    if (!done) report("plain", ggml_backend_cpu_buffer_type());
    ggml_backend_free(backend);
    return 0;
}
