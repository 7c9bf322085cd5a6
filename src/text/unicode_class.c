/*
 * The tables of unicode_class.h. The first block is ASCII and Latin-1, so that ASCII needs one
 * load.
 */
#include "text/unicode_class.h"

#include "text/unicode_class_table.h"
