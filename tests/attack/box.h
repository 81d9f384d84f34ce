#pragma once

// Where an attempt must work, so that its failing in a jail says something about the jail: a root
// and namespaces of its own, so that nobody is harmed, and nothing that holds it back.

#include <string>

namespace ambit::sandbox {

struct Box {
  std::string attacker;
  std::string name;  // of the attempt
  // What it is aimed at; empty: a process in the box, whose death is an escape.
  std::string aim{};
  // As the machine's root; else as root of a user namespace, whom the kernel gives nothing outside.
  bool is_root = false;
};

// The attempt's exit status; another number below 40 where the box could not be made.
int run_in_box(const Box& box);

}  // namespace ambit::sandbox
