# All tests are ctest's. Rooms are folders of tests/ with one Criterion program each. What builds the project a second time or
# runs for long is registered only where CDUNET_TESTS_WHOLE is set (./dev test and ./dev check set it); "ctest -C check" adds the
# slowest ones.
option(CDUNET_TESTS_WHOLE "register the tests that build the project again: other compilers, sanitizers, an installed prefix" OFF)
pkg_check_modules(CRITERION REQUIRED IMPORTED_TARGET criterion)
find_program(PYTHON NAMES python3 HINTS /usr/bin NO_CMAKE_ENVIRONMENT_PATH)
find_program(CXX_COMPILER NAMES c++ g++ clang++-14)

# caches of the tests stay in the build folder, PoCL's one a test, since two processes in one cold cache can end each other; ASan needs a driver list without Clover, and drivers leak by design
set(TEST_ENVIRONMENT "XDG_CACHE_HOME=${CMAKE_BINARY_DIR}/cache" "OCL_ICD_VENDORS=pocl.icd"
  "LSAN_OPTIONS=suppressions=${CMAKE_SOURCE_DIR}/tests/house/leaks.txt:print_suppressions=0"
  "UBSAN_OPTIONS=print_stacktrace=1" "ASAN_OPTIONS=detect_odr_violation=0" "CDUNET_TUNE=off")

function(cdunet_add_test name)
  cmake_parse_arguments(T "" "TIMEOUT;PROCESSORS" "COMMAND;CONFIGURATIONS;ENVIRONMENT" ${ARGN})
  if(T_CONFIGURATIONS)
    add_test(NAME ${name} COMMAND ${T_COMMAND} CONFIGURATIONS ${T_CONFIGURATIONS})
  else()
    add_test(NAME ${name} COMMAND ${T_COMMAND})
  endif()
  if(NOT T_TIMEOUT)
    set(T_TIMEOUT 300)
  endif()
  if(NOT T_PROCESSORS)
    set(T_PROCESSORS 1)
  endif()
  set_tests_properties(${name} PROPERTIES TIMEOUT ${T_TIMEOUT} PROCESSORS ${T_PROCESSORS} SKIP_RETURN_CODE 77
    ENVIRONMENT "${TEST_ENVIRONMENT};POCL_CACHE_DIR=${CMAKE_BINARY_DIR}/cache/pocl-${name};${T_ENVIRONMENT}" WORKING_DIRECTORY ${CMAKE_BINARY_DIR})
endfunction()

set(TEST_LIBRARIES cdunet PkgConfig::CRITERION PkgConfig::TIFF PkgConfig::PNG PkgConfig::JPEG PkgConfig::CAIRO PkgConfig::JANSSON
  PkgConfig::ZLIB Threads::Threads ${CMAKE_DL_LIBS} m)
function(cdunet_test_program name)
  add_executable(${name} ${ARGN})
  target_include_directories(${name} PRIVATE ${CMAKE_SOURCE_DIR} ${CMAKE_SOURCE_DIR}/tests)
  target_compile_definitions(${name} PRIVATE CDUNET_SOURCE_DIR="${CMAKE_SOURCE_DIR}" CDUNET_BINARY_DIR="${CMAKE_BINARY_DIR}"
    ${CDUNET_DEFINITIONS})
  target_link_libraries(${name} PRIVATE ${TEST_LIBRARIES})
endfunction()

foreach(room base graph ops backends model slide study train report segment phantom tools bench)
  file(GLOB sources CONFIGURE_DEPENDS tests/${room}/*.c)
  list(FILTER sources EXCLUDE REGEX "/(fuzz_|main_)[^/]*$")
  if(sources)
    if(room STREQUAL tools)
      list(APPEND sources tools/options.c tools/init_guess.c)
    endif()
    if(room STREQUAL phantom)
      file(GLOB phantom_sources CONFIGURE_DEPENDS tools/phantom/*.c)
      list(APPEND sources ${phantom_sources})
    endif()
    if(room STREQUAL bench)
      list(APPEND sources ${BENCH_SOURCES} tools/options.c)
      list(FILTER sources EXCLUDE REGEX "/bench/main.c$")
    endif()
    cdunet_test_program(test_${room} ${sources})
    cdunet_add_test(${room} COMMAND test_${room} --jobs 1 TIMEOUT 1500)
    if(room STREQUAL backends)
      set_tests_properties(backends PROPERTIES RUN_SERIAL TRUE) # it takes times
      add_library(removed MODULE tests/backends/main_removed.c) # what goes from the driver's cache
      target_link_libraries(removed PRIVATE ${CMAKE_DL_LIBS})
      add_dependencies(test_backends removed)
    endif()
    if(room MATCHES "backends|tools|phantom|train|report|segment")
      add_dependencies(test_${room} cdunet-program)
    endif()
    if(room STREQUAL train) # the disk of the kill tests
      add_library(slow_disk MODULE tests/train/main_slow_disk.c)
      target_link_libraries(slow_disk PRIVATE ${CMAKE_DL_LIBS})
      add_dependencies(test_train slow_disk)
      find_library(OPENCL_LOADER NAMES libOpenCL.so.1)
      if(CDUNET_OPENCL AND OPENCL_LOADER) # and a device that gets lost
        add_library(lost_device MODULE tests/train/main_lost_device.c)
        target_link_libraries(lost_device PRIVATE -Wl,--no-as-needed ${OPENCL_LOADER} ${CMAKE_DL_LIBS})
        add_dependencies(test_train lost_device)
      endif()
    endif()
  endif()
endforeach()

target_compile_definitions(test_bench PRIVATE CDUNET_VERSION="${PROJECT_VERSION}")
add_dependencies(test_bench cdunet-bench)
cdunet_add_test(bench.peers COMMAND /usr/bin/python3 ${CMAKE_SOURCE_DIR}/tests/bench/peers.py ${CMAKE_SOURCE_DIR})
cdunet_add_test(bench.gates COMMAND /usr/bin/python3 ${CMAKE_SOURCE_DIR}/tests/bench/gates.py $<TARGET_FILE:cdunet-program> ${CMAKE_SOURCE_DIR})

# annotation files against an independent reader
cdunet_add_test(slide.annotations COMMAND /usr/bin/python3 ${CMAKE_SOURCE_DIR}/tests/slide/annotations.py $<TARGET_FILE:cdunet-program>
  ${CMAKE_SOURCE_DIR}/tests/slide/annotations ${CMAKE_SOURCE_DIR}/../shared/data/annotations)
# mutated ones: a few here, 2000 by "ctest -C check"
set(MUTATED ${CMAKE_SOURCE_DIR}/tests/slide/annotations ${CMAKE_SOURCE_DIR}/../shared/data/annotations)
cdunet_add_test(slide.mutated-annotations COMMAND /usr/bin/python3 ${CMAKE_SOURCE_DIR}/tests/slide/mutate_annotations.py
  $<TARGET_FILE:cdunet-program> 150 ${MUTATED})
cdunet_add_test(slide.mutated-annotations-all COMMAND /usr/bin/python3 ${CMAKE_SOURCE_DIR}/tests/slide/mutate_annotations.py
  $<TARGET_FILE:cdunet-program> 2000 ${MUTATED} CONFIGURATIONS check TIMEOUT 900)

# fuzz targets: tests/fuzz/fuzz_NAME.c with LLVMFuzzerTestOneInput; seeds lie in tests/fuzz/fuzz_NAME/. Without libFuzzer each becomes
# a program that runs its seeds, cut and flipped, once.
file(GLOB FUZZERS CONFIGURE_DEPENDS tests/fuzz/fuzz_*.c)
foreach(source IN LISTS FUZZERS)
  get_filename_component(name ${source} NAME_WE)
  if(CDUNET_FUZZ)
    cdunet_test_program(${name} ${source})
    target_compile_options(cdunet PRIVATE -fsanitize=fuzzer-no-link)
    target_compile_options(${name} PRIVATE -fsanitize=fuzzer)
    target_link_options(${name} PRIVATE -fsanitize=fuzzer)
  else()
    cdunet_test_program(${name} ${source} tests/house/main_repeat.c)
    cdunet_add_test(${name} COMMAND ${name} ${CMAKE_SOURCE_DIR}/tests/fuzz/${name})
  endif()
endforeach()

# parity with PyTorch: tests/parity/run DEVICE... prints the whole table
cdunet_test_program(parity_dump tests/parity/parity_dump.c)
set_target_properties(parity_dump PROPERTIES RUNTIME_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR})
if(CDUNET_OPENCL)
  cdunet_add_test(parity.opencl COMMAND /usr/bin/python3 ${CMAKE_SOURCE_DIR}/tests/parity/run --small --build ${CMAKE_BINARY_DIR} opencl:0)
endif()
if(CDUNET_VULKAN)
  cdunet_add_test(parity.vulkan COMMAND /usr/bin/python3 ${CMAKE_SOURCE_DIR}/tests/parity/run --small --build ${CMAKE_BINARY_DIR} vulkan:0)
endif()

# scores against scikit-learn's, pages against the logs they show
if(CDUNET_OPENCL)
  cdunet_add_test(report.scores COMMAND /usr/bin/python3 ${CMAKE_SOURCE_DIR}/tests/report/scores.py $<TARGET_FILE:cdunet-program>
    ${CMAKE_BINARY_DIR}/scratch/scores)
  cdunet_add_test(report.page COMMAND /usr/bin/python3 ${CMAKE_SOURCE_DIR}/tests/report/page.py $<TARGET_FILE:cdunet-program>
    ${CMAKE_BINARY_DIR}/scratch/page)
endif()

add_executable(test_dist tests/dist/group.c)
target_include_directories(test_dist PRIVATE ${CMAKE_SOURCE_DIR})
target_compile_definitions(test_dist PRIVATE ${CDUNET_DEFINITIONS})
target_link_libraries(test_dist PRIVATE cdunet m)
cdunet_add_test(dist.solo COMMAND test_dist solo)
find_program(MPIEXEC NAMES mpiexec.mpich mpiexec.hydra)
if(CDUNET_MPI AND MPIEXEC)
  cdunet_add_test(dist.mpi COMMAND ${MPIEXEC} -n 2 $<TARGET_FILE:test_dist> mpi ENVIRONMENT EXPECTED_RANKS=2 TIMEOUT 60)
  cdunet_add_test(dist.mpi-stall COMMAND ${CMAKE_COMMAND} -DEXPECTED=74 "-DCOMMAND=${MPIEXEC} -n 2 $<TARGET_FILE:test_dist> mpi stall"
    -P ${CMAKE_SOURCE_DIR}/cmake/expect.cmake TIMEOUT 60)
endif()
if(CDUNET_MPI AND MPIEXEC AND CDUNET_OPENCL)
  set(DIST_TESTS split-statistics split-ranks split-mixed split-faults train-same train-differ train-stall train-die train-balance train-behind train-lost)
  if(NOT CDUNET_VULKAN)
    list(REMOVE_ITEM DIST_TESTS split-mixed)
  endif()
  foreach(test IN LISTS DIST_TESTS)
    string(REGEX REPLACE "(.*)-(.*)" "\\1;\\2" parts ${test})
    list(GET parts 0 script)
    list(GET parts 1 part)
    set(arguments ${CMAKE_SOURCE_DIR} ${CMAKE_BINARY_DIR} ${MPIEXEC})
    if(script STREQUAL train)
      set(arguments $<TARGET_FILE:cdunet-program> ${MPIEXEC} $<TARGET_FILE:test_dist>)
    endif()
    cdunet_add_test(dist.${test} COMMAND /usr/bin/python3 ${CMAKE_SOURCE_DIR}/tests/dist/${script}.py ${arguments} ${part} PROCESSORS 2)
    # one cache of kernels for all of them
    set_property(TEST dist.${test} APPEND PROPERTY ENVIRONMENT "POCL_CACHE_DIR=${CMAKE_BINARY_DIR}/cache/pocl-dist")
    set_property(TEST dist.${test} PROPERTY RESOURCE_LOCK pocl-dist)
  endforeach()
  # OpenCL and Vulkan in one job, as on cards
  set_property(TEST dist.train-balance APPEND PROPERTY ENVIRONMENT CDUNET_DEBUG=offsets,twins)
endif()
if(CDUNET_MPI AND MPIEXEC AND NOT CDUNET_SANITIZE)
  cdunet_add_test(bench.scale COMMAND /usr/bin/python3 ${CMAKE_SOURCE_DIR}/tests/bench/scale.py ${MPIEXEC} $<TARGET_FILE:cdunet-bench> ${CMAKE_SOURCE_DIR} PROCESSORS 2)
  add_library(leave MODULE tests/dist/main_leave.c)
  set(CAMPAIGN /usr/bin/python3 ${CMAKE_SOURCE_DIR}/tests/dist/campaign.py ${MPIEXEC} $<TARGET_FILE:cdunet-program> $<TARGET_FILE:leave>)
  cdunet_add_test(dist.campaign COMMAND ${CAMPAIGN} TIMEOUT 600 PROCESSORS 2)
  cdunet_add_test(dist.campaign-whole COMMAND ${CAMPAIGN} --deaths 120 --stalls 60 CONFIGURATIONS check TIMEOUT 5400 PROCESSORS 2)
endif()
include(cmake/tests_house.cmake)

# which rank takes which device
if(CDUNET_MPI AND MPIEXEC AND CDUNET_OPENCL)
  cdunet_add_test(dist.devices COMMAND /usr/bin/python3 ${CMAKE_SOURCE_DIR}/tests/dist/devices.py $<TARGET_FILE:cdunet-program> ${MPIEXEC}
    ${CMAKE_BINARY_DIR}/scratch/devices PROCESSORS 2 TIMEOUT 900)
endif()
