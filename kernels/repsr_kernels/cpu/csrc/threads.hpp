// Several threads at one piece of work.
#pragma once

#include <pthread.h>

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <exception>
#include <list>
#include <memory>
#include <mutex>
#include <new>
#include <thread>
#include <type_traits>

namespace repsr::cpu {

// Threads that wait for work, for a while: one that waits begins within 0.1 ms, while a new one may stand behind its
// maker for milliseconds until a core is found for it, which is as long as a small picture takes.
class Crew {
public:
    // The process's own. It is never freed, as its threads may wait in it when the process ends.
    static Crew* of_process() noexcept {
        static std::atomic<Crew*> current{nullptr};
        static const int forks = pthread_atfork(nullptr, nullptr, [] { current = nullptr; });  // threads stay behind
        static_cast<void>(forks);
        Crew* crew = current;
        if (crew) return crew;
        std::unique_ptr<Crew> made(new (std::nothrow) Crew);
        return current.compare_exchange_strong(crew, made.get()) ? made.release() : crew;
    }

    // Calls call(work) here and on up to `others` threads, and returns when all are done.
    void run(int64_t others, void (*call)(const void*), const void* work) noexcept {
        Task task{call, work, others, 0};
        const bool is_listed = list(task);
        call(work);
        if (!is_listed) return;
        std::unique_lock<std::mutex> lock(mutex_);
        tasks_.remove(&task);  // whoever has not begun need not
        done_.wait(lock, [&task] { return task.busy == 0; });
    }

private:
    struct Task {
        void (*call)(const void*);
        const void* work;
        int64_t wanted, busy;
    };

    // Whether others may come; starts those that are missing, as far as the system lets it.
    bool list(Task& task) noexcept {
        const std::lock_guard<std::mutex> lock(mutex_);
        try {
            tasks_.push_back(&task);
        } catch (const std::bad_alloc&) {
            return false;
        }
        int64_t wanted = 0;
        for (const Task* each : tasks_) wanted += each->wanted;
        try {
            for (; idle_ < wanted; ++idle_) std::thread([this]() noexcept { wait_and_work(); }).detach();
        } catch (const std::exception&) {  // system_error: no more threads; bad_alloc: no memory for one
        }
        task.wanted > 1 ? wake_.notify_all() : wake_.notify_one();
        return true;
    }

    void wait_and_work() noexcept {
        using Clock = std::chrono::system_clock;
        constexpr std::chrono::seconds kPatience{20};
        std::unique_lock<std::mutex> lock(mutex_);
        while (wake_.wait_until(lock, Clock::now() + kPatience, [this] { return !tasks_.empty(); })) {
            Task& task = *tasks_.front();
            if (--task.wanted == 0) tasks_.pop_front();
            ++task.busy;
            --idle_;
            lock.unlock();
            task.call(task.work);
            lock.lock();
            ++idle_;
            if (--task.busy == 0) done_.notify_all();
        }
        --idle_;
    }

    std::mutex mutex_;
    std::condition_variable wake_, done_;
    std::list<Task*> tasks_;  // that want more threads
    int64_t idle_ = 0;        // threads that wait, or are about to
};

// Calls work() on `threads` threads at once, this one among them, and waits for all. Where the system starts no more,
// those that run are all there are: `work` takes pieces until none is left.
template <class Work>
void on_threads(int64_t threads, const Work& work) noexcept {
    static_assert(std::is_nothrow_invocable_v<const Work&>, "nobody would catch what a thread throws");
    Crew* crew = threads > 1 ? Crew::of_process() : nullptr;
    if (!crew) return work();
    crew->run(threads - 1, [](const void* each) { (*static_cast<const Work*>(each))(); }, &work);
}

}  // namespace repsr::cpu
