# Runs COMMAND (one string, as a shell would split it) and fails unless it exits with EXPECTED.
separate_arguments(words UNIX_COMMAND "${COMMAND}")
execute_process(COMMAND ${words} RESULT_VARIABLE code)
if(NOT code EQUAL EXPECTED)
  message(FATAL_ERROR "exit code ${code}, expected ${EXPECTED}")
endif()
