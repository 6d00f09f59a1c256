#include <stdio.h>
#include <string.h>

#include "tables.h"

static uint32_t checksum(const char *text, const uint32_t *table) {
  uint32_t crc = 0xffffffffu;
  for (size_t i = 0; i < strlen(text); i++) {
    crc = crc >> 8 ^ table[(crc ^ (unsigned char)text[i]) & 0xff];
  }
  return crc ^ 0xffffffffu;
}

int main(int count, char **arguments) {
  const char *text = count > 1 ? arguments[1] : "123456789";
  printf("crc32  %08x\n", (unsigned)checksum(text, crc32_table));
  printf("crc32c %08x\n", (unsigned)checksum(text, crc32c_table));
  printf("tables by %s\n", tables_origin);
  return 0;
}
