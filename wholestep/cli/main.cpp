// The `wholestep` command.
#include "wholestep/cli/app.h"

int main(int argc, char** argv) { return wholestep::cli::run(argc, argv); }
