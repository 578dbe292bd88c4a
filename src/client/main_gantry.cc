// gantry: the command line client.
#include "client/cli/cli.h"
#include "client/cli/root.h"

int main(int argc, char** argv) {
  std::vector<std::string> words(argv + 1, argv + argc);
  int status = gantry::client::run_client(words);
  gantry::client::flush_out();
  return status;
}
