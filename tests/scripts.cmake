# Tests that are scripts: the style check, shell scripts tests/e2e/NAME.sh and Python ones tests/e2e/test_NAME.py.
# A line "# ctest: label ..." in a script's first ten lines adds labels; the label "release" restricts it to optimised
# builds without sanitizers, "serial" keeps other tests from running beside it.
set(SCRIPT_ENVIRONMENT
    "LORAC_SOURCE_DIR=${PROJECT_SOURCE_DIR}" "LORAC_BUILD_DIR=${PROJECT_BINARY_DIR}"
    "LORAC_SANITIZE=${LORAC_SANITIZE}" "CC=${CMAKE_C_COMPILER}" "PYTHONDONTWRITEBYTECODE=1")
set(IS_OPTIMISED OFF)
if(CMAKE_BUILD_TYPE MATCHES "Rel" AND NOT LORAC_SANITIZE)
    set(IS_OPTIMISED ON)
endif()

# Labels from a script's "# ctest:" line.
function(lorac_script_labels file out)
    file(STRINGS ${file} lines LIMIT_COUNT 10 REGEX "^# ctest:")
    set(labels "")
    foreach(line ${lines})
        string(REGEX REPLACE "^# ctest: *" "" line "${line}")
        string(REPLACE " " ";" line "${line}")
        list(APPEND labels ${line})
    endforeach()
    set(${out} "${labels}" PARENT_SCOPE)
endfunction()

# lorac_add_script_test(NAME FILE EXTRA_LABEL COMMAND...)
function(lorac_add_script_test name file label)
    lorac_script_labels(${file} labels)
    if("release" IN_LIST labels AND NOT IS_OPTIMISED)
        return()
    endif()
    add_test(NAME ${name} COMMAND ${ARGN} WORKING_DIRECTORY ${PROJECT_SOURCE_DIR})
    set_tests_properties(${name} PROPERTIES LABELS "${label};${labels}" TIMEOUT 1500 SKIP_RETURN_CODE 77
        ENVIRONMENT "${SCRIPT_ENVIRONMENT}")
    if("serial" IN_LIST labels)
        set_tests_properties(${name} PROPERTIES RUN_SERIAL ON)
    endif()
endfunction()

if(EXISTS ${PROJECT_SOURCE_DIR}/scripts/tidy)
    add_test(NAME style/tidy COMMAND ${PROJECT_SOURCE_DIR}/scripts/tidy WORKING_DIRECTORY ${PROJECT_SOURCE_DIR})
    set_tests_properties(style/tidy PROPERTIES LABELS style TIMEOUT 300)
endif()

# parity_probe: the model's passes and the trainer behind a command line, for the parity tests.
add_executable(parity_probe e2e/parity_probe.c)
target_link_libraries(parity_probe PRIVATE lorac_testing)

file(GLOB files CONFIGURE_DEPENDS e2e/*.sh)
foreach(file ${files})
    get_filename_component(name ${file} NAME_WE)
    lorac_add_script_test(e2e/${name} ${file} e2e bash ${file})
endforeach()

file(GLOB files CONFIGURE_DEPENDS e2e/test_*.py)
foreach(file ${files})
    get_filename_component(name ${file} NAME_WE)
    string(REPLACE "test_" "" name ${name})
    lorac_add_script_test(e2e-python/${name} ${file} e2e-python
        bash ${PROJECT_SOURCE_DIR}/tests/e2e/with_venv ${file})
endforeach()
