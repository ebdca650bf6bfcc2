#pragma once

// Threads that share the work of one call. See thread_pool.cpp.

#include <cstddef>
#include <functional>

namespace mgx {

// How many threads a call may use, the caller's among them; 1 at first.
void set_thread_count(std::size_t count);
[[nodiscard]] std::size_t thread_count() noexcept;

// Call work(0), ..., work(tasks - 1), each once, on so many threads; it must not throw.
void run_tasks(std::size_t tasks, const std::function<void(std::size_t)>& work);

}  // namespace mgx
