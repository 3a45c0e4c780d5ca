# Stops with words where a header is missing: which option leaves its part out, which Debian package has it.
function(cdunet_need_header header option package)
  string(MAKE_C_IDENTIFIER "CDUNET_FOUND_${header}" variable)
  find_path(${variable} ${header})
  mark_as_advanced(${variable})
  if(NOT ${variable})
    message(FATAL_ERROR "${header} is missing: install ${package}, or build without it: -D${option}=OFF")
  endif()
endfunction()
