/* SPDX-License-Identifier: BSD-3-Clause */
/* silent.c -- a shared object that is no plugin: it lacks the one symbol. */
int silent_is_no_plugin(void);

int silent_is_no_plugin(void)
{
    return 0;
}
