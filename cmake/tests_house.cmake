# Tests of the project as a whole: house rules, headers, what an installed copy offers, other builds, kernels for devices that are
# not here. Each is a script that says what it found and exits with 77 where a tool it needs is missing.
set(HOUSE ${CMAKE_SOURCE_DIR}/tests/house)
if(PYTHON)
  cdunet_add_test(house.rules COMMAND ${PYTHON} ${HOUSE}/rules.py ${CMAKE_SOURCE_DIR})
  cdunet_add_test(house.headers COMMAND ${PYTHON} ${HOUSE}/headers.py ${CMAKE_SOURCE_DIR} ${CMAKE_C_COMPILER} ${CXX_COMPILER})
endif()
if(CDUNET_TESTS_WHOLE)
  cdunet_add_test(house.installed COMMAND bash ${HOUSE}/installed.sh ${CMAKE_SOURCE_DIR} ${CMAKE_BINARY_DIR} TIMEOUT 300)
  cdunet_add_test(house.clang COMMAND bash ${HOUSE}/again.sh ${CMAKE_SOURCE_DIR} clang "^(base|dist[.](solo|mpi|mpi-stall))$" TIMEOUT 900 PROCESSORS 2)
  cdunet_add_test(house.bare COMMAND bash ${HOUSE}/again.sh ${CMAKE_SOURCE_DIR} bare
    "^(base|graph|ops|model|slide|study|report|phantom|tools|dist[.](solo|mpi|mpi-stall)|fuzz_.*)$" TIMEOUT 900 PROCESSORS 2)
  cdunet_add_test(house.sanitizers COMMAND bash ${HOUSE}/again.sh ${CMAKE_SOURCE_DIR} sanitizers
    "^(base|graph|model|slide|study|report|tools|dist[.](solo|mpi|mpi-stall)|fuzz_.*)$" TIMEOUT 1200 PROCESSORS 2)
  cdunet_add_test(house.sanitizers-whole COMMAND bash ${HOUSE}/again.sh ${CMAKE_SOURCE_DIR} sanitizers "." CONFIGURATIONS check
    TIMEOUT 3600 PROCESSORS 2)
endif()

# Vulkan's validation layer over what the self-test and the operator table do
if(CDUNET_VULKAN AND PYTHON)
  set(VALIDATION bash ${HOUSE}/validation.sh)
  cdunet_add_test(vulkan.validation-self-test COMMAND ${VALIDATION} ${CMAKE_BINARY_DIR}/validation-self-test.log ${HOUSE}/vulkan_fault.py
    $<TARGET_FILE:cdunet-program> devices TIMEOUT 600)
  if(TARGET test_ops)
    cdunet_add_test(vulkan.validation-operators COMMAND ${VALIDATION} ${CMAKE_BINARY_DIR}/validation-operators.log
      ${HOUSE}/vulkan_fault.py $<TARGET_FILE:test_ops> --jobs 1 --filter "operators/are_exact*" TIMEOUT 1200)
  endif()
  cdunet_add_test(drivers.lying COMMAND bash ${HOUSE}/lying_driver.sh $<TARGET_FILE:cdunet-program> ${CMAKE_BINARY_DIR}/lying
    CONFIGURATIONS check)
  foreach(room ops backends)
    if(TARGET test_${room})
      cdunet_add_test(drivers.swiftshader-${room} COMMAND bash ${HOUSE}/swiftshader.sh $<TARGET_FILE:test_${room}> --jobs 1
        CONFIGURATIONS check TIMEOUT 3600 ENVIRONMENT CDUNET_TEST_ALL=1)
    endif()
  endforeach()
endif()
# the operator table with every variant of convolution forced in turn, and all else that "ops" takes some cases of; one command: ctest -C check
# -R drivers.every-variant
if(TARGET test_ops)
  cdunet_add_test(drivers.every-variant COMMAND test_ops --jobs 1 --filter "operators/@(match_w*|give_*|write_*)" CONFIGURATIONS check
    TIMEOUT 3600 ENVIRONMENT CDUNET_TEST_ALL=1)
endif()
# what the backends do for cards and for NVIDIA's OpenCL alone, on the drivers at hand
if(TARGET test_ops)
  cdunet_add_test(drivers.as-nvidia COMMAND test_ops --jobs 1 --filter "network/gradients*"
    ENVIRONMENT "CDUNET_DEBUG=offsets,twins;CDUNET_VECTOR_WIDTH=4;CDUNET_TEST_AS_CARD=NVIDIA")
endif()
if(CDUNET_OPENCL AND PYTHON)
  cdunet_add_test(drivers.tuner COMMAND bash ${HOUSE}/tuner.sh $<TARGET_FILE:cdunet-bench> ${CMAKE_SOURCE_DIR}/shaders ${CMAKE_BINARY_DIR}/tuner
    TIMEOUT 900)
endif()
if(CDUNET_OPENCL AND TARGET test_ops)
  cdunet_add_test(drivers.oclgrind-ops COMMAND bash ${HOUSE}/oclgrind.sh ${CMAKE_BINARY_DIR}/oclgrind-ops.log $<TARGET_FILE:test_ops>
    --jobs 1 --filter "operators/are_exact*" CONFIGURATIONS check TIMEOUT 1800)
  foreach(rows batch-norm cross-entropy) # what rounds has no exact rows
    string(REPLACE "-" " " words ${rows})
    cdunet_add_test(drivers.oclgrind-${rows} COMMAND bash ${HOUSE}/oclgrind.sh ${CMAKE_BINARY_DIR}/oclgrind-${rows}.log $<TARGET_FILE:test_ops>
      --jobs 1 --filter "operators/match_double*" CONFIGURATIONS check TIMEOUT 1800 ENVIRONMENT "CDUNET_TEST_ROW=${words}")
  endforeach()
endif()

# kernels for devices that are not here
if(CDUNET_VULKAN)
  cdunet_test_program(kernel_check tests/kernels/kernel_check.c)
  set(NEWER_gfx1100 navi31)
  foreach(family navi21 gfx1100)
    cdunet_add_test(kernels.radv-${family} COMMAND bash ${CMAKE_SOURCE_DIR}/tests/kernels/radv.sh $<TARGET_FILE:kernel_check> ${family} ${NEWER_${family}})
  endforeach()
  cdunet_add_test(kernels.amdgcn COMMAND bash ${CMAKE_SOURCE_DIR}/tests/kernels/amdgcn.sh $<TARGET_FILE:kernel_check>
    ${CMAKE_BINARY_DIR}/amdgcn PROCESSORS 2 TIMEOUT 600)
  if(PYTHON)
    cdunet_add_test(kernels.intel COMMAND ${PYTHON} ${CMAKE_SOURCE_DIR}/tests/kernels/intel.py $<TARGET_FILE:kernel_check>
      ${CMAKE_BINARY_DIR}/intel PROCESSORS 2 TIMEOUT 1800)
  endif()
endif()
