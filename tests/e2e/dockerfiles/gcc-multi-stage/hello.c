#include <stdio.h>
int main(void) { puts(MESSAGE); return 0; }
