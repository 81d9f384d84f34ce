# module(name DEPENDS ... LINKS ... SOURCES ... HEADERS ...)
#
# One folder = one static library = one include prefix. A module is visible only through a directory
# that holds nothing but a link to it, so a dependency that is not declared does not compile.
# DEPENDS are other modules (public). LINKS are outside libraries (private).
function(module name)
  cmake_parse_arguments(PARSE_ARGV 1 arg "" "" "DEPENDS;LINKS;SOURCES;HEADERS")
  set(root ${CMAKE_BINARY_DIR}/include/${name})
  file(MAKE_DIRECTORY ${root})
  file(CREATE_LINK ${CMAKE_CURRENT_SOURCE_DIR} ${root}/${name} SYMBOLIC)
  add_library(${name} STATIC ${arg_SOURCES})
  list(TRANSFORM arg_HEADERS PREPEND ${root}/${name}/ OUTPUT_VARIABLE headers)
  target_sources(${name} PUBLIC FILE_SET HEADERS BASE_DIRS ${root} FILES ${headers})
  target_link_libraries(${name} PUBLIC ${arg_DEPENDS} PRIVATE ${arg_LINKS})
endfunction()

# alone(SOURCE...): these are not compiled together with others of their target, where the preset does that
# (CMAKE_UNITY_BUILD): names of theirs stand in others too.
function(alone)
  set_source_files_properties(${ARGN} PROPERTIES SKIP_UNITY_BUILD_INCLUSION ON)
endfunction()

# unit_test(name_test MODULE name SOURCES ... LINKS ...): one Catch2 program, linked to that library alone.
# Each TEST_CASE becomes a ctest test through one program run (the list is discovered at build time).
function(unit_test name)
  cmake_parse_arguments(PARSE_ARGV 1 arg "" "" "LINKS;SOURCES")
  add_executable(${name} ${arg_SOURCES} $<TARGET_OBJECTS:catch_main>)
  target_link_libraries(${name} PRIVATE ${arg_LINKS})
  target_compile_definitions(${name} PRIVATE TEST_DATA="${CMAKE_SOURCE_DIR}/tests/data"
                                             PROJECT_ROOT="${CMAKE_SOURCE_DIR}")
  catch_discover_tests(${name} TEST_PREFIX "${name}: " PROPERTIES TIMEOUT 300)
endfunction()
