// Sanitizers follow a switch of stacks only through Boost.Context's ucontext backend, whose two
// out-of-line definitions the distribution's library lacks (it is built for the assembler backend).
#ifdef BOOST_USE_UCONTEXT

#include <boost/context/fiber.hpp>

namespace boost::context::detail {
namespace {

// The record of the context that runs on this thread; a counted one stands for the thread's own
// stack.
thread_local fiber_activation_record* current_record = nullptr;
thread_local size_t initializers = 0;

}  // namespace

fiber_activation_record*& fiber_activation_record::current() noexcept {
  thread_local fiber_activation_record_initializer initializer;
  return current_record;
}

fiber_activation_record_initializer::fiber_activation_record_initializer() noexcept {
  if (initializers++ == 0) current_record = new fiber_activation_record();
}

fiber_activation_record_initializer::~fiber_activation_record_initializer() {
  if (--initializers == 0) delete current_record;
}

}  // namespace boost::context::detail

#endif
