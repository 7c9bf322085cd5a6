/* Limits of chat templates: what comes from a model directory is not trusted. */
#ifndef LC_TEXT_TEMPLATE_LIMITS_H
#define LC_TEXT_TEMPLATE_LIMITS_H

#define LC_MAX_TEMPLATE_BYTES   ((size_t)1 << 20) /* of source */
#define LC_MAX_TEMPLATE_NESTING 100               /* of blocks and parentheses in the source */
#define LC_MAX_TEMPLATE_TREE    400               /* of an expression, a + b + c + ... included */
#define LC_MAX_TEMPLATE_STEPS   ((int64_t)100000000) /* fuel of one rendering */
#define LC_MAX_TEMPLATE_OUTPUT  ((size_t)64 << 20)   /* bytes written */
#define LC_MAX_TEMPLATE_MEMORY  ((size_t)256 << 20)  /* bytes of values */
#define LC_MAX_TEMPLATE_DEPTH   1000   /* of evaluation: macros that call themselves */
#define LC_MAX_TEMPLATE_RANGE   100000 /* numbers of a range, as in Jinja2's sandbox */

#endif
