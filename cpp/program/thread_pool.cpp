// A pool of threads, started when they are first needed.
//
// The caller and the workers draw task numbers from one counter. One call at a time has the
// workers: another one that comes meanwhile does its tasks alone. A process that was forked from
// one with workers has none of them; it starts its own.

#include "program/thread_pool.hpp"

#include <algorithm>
#include <atomic>
#include <condition_variable>
#include <memory>
#include <mutex>
#include <system_error>
#include <thread>
#include <vector>

#if defined(__unix__) || defined(__APPLE__)
#include <pthread.h>
#endif

namespace mgx {

namespace {

std::atomic<std::size_t> wanted_threads{1};

class ThreadPool {
public:
    explicit ThreadPool(std::size_t workers) : wanted_(workers) {
        try {
            for (std::size_t i = 0; i < workers; ++i) {
                threads_.emplace_back([this] { serve(); });
            }
        } catch (const std::system_error&) {
            return;  // the system gives no more: those that there are do the work
        }
    }
    ThreadPool(const ThreadPool&) = delete;
    ThreadPool& operator=(const ThreadPool&) = delete;
    ~ThreadPool() {
        {
            const std::scoped_lock lock(mutex_);
            is_over_ = true;
        }
        call_.notify_all();
        for (std::thread& thread : threads_) {
            thread.join();
        }
    }

    [[nodiscard]] std::size_t wanted() const noexcept { return wanted_; }

    void run(std::size_t tasks, const std::function<void(std::size_t)>& work) {
        {
            const std::scoped_lock lock(mutex_);
            work_ = &work;
            tasks_ = tasks;
            next_ = 0;
            busy_ = threads_.size();
            ++calls_;
        }
        call_.notify_all();
        draw();
        std::unique_lock lock(mutex_);
        done_.wait(lock, [this] { return busy_ == 0; });
        work_ = nullptr;
    }

private:
    void draw() {
        for (std::size_t task = next_++; task < tasks_; task = next_++) {
            (*work_)(task);
        }
    }

    void serve() {
        std::size_t served = 0;
        std::unique_lock lock(mutex_);
        while (true) {
            call_.wait(lock, [&] { return is_over_ || calls_ != served; });
            if (is_over_) {
                return;
            }
            served = calls_;
            lock.unlock();
            draw();
            lock.lock();
            if (--busy_ == 0) {
                done_.notify_one();
            }
        }
    }

    std::size_t wanted_;  // how many workers there should be
    std::mutex mutex_;
    std::condition_variable call_;
    std::condition_variable done_;
    const std::function<void(std::size_t)>* work_ = nullptr;
    std::size_t tasks_ = 0;
    std::atomic<std::size_t> next_{0};
    std::size_t busy_ = 0;   // workers that have not finished the call
    std::size_t calls_ = 0;  // so far
    bool is_over_ = false;
    std::vector<std::thread> threads_;
};

// The pool and who uses it. Neither is ever destroyed: a worker may still wait when the process
// ends.
struct Shared {
    std::mutex in_use;
    std::unique_ptr<ThreadPool> pool;
};

Shared*& shared() {
    static Shared* current = [] {
#if defined(__unix__) || defined(__APPLE__)
        // The parent's workers do not exist in a child, and its mutexes may be held for ever.
        pthread_atfork(nullptr, nullptr, [] { shared() = new Shared; });
#endif
        return new Shared;
    }();
    return current;
}

}  // namespace

void set_thread_count(std::size_t count) { wanted_threads = count; }

std::size_t thread_count() noexcept { return wanted_threads; }

void run_tasks(std::size_t tasks, const std::function<void(std::size_t)>& work) {
    const std::size_t threads = std::min<std::size_t>(thread_count(), tasks);
    if (threads > 1) {
        Shared& current = *shared();
        const std::unique_lock lock(current.in_use, std::try_to_lock);
        if (lock.owns_lock()) {
            const std::size_t workers = thread_count() - 1;
            if (current.pool == nullptr || current.pool->wanted() != workers) {
                current.pool.reset();
                current.pool = std::make_unique<ThreadPool>(workers);
            }
            current.pool->run(tasks, work);
            return;
        }
    }
    for (std::size_t task = 0; task < tasks; ++task) {
        work(task);
    }
}

}  // namespace mgx
