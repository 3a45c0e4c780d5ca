#!/usr/bin/env python3
"""Misuses Vulkan on purpose (a buffer of no bytes), so that whoever runs this under the validation layer sees whether it speaks.

The loader is called directly, without this project's code. Exits 77 where there is no loader or device.
"""
import ctypes
import sys

try:
    vk = ctypes.CDLL("libvulkan.so.1")
except OSError:
    sys.exit(77)
u32, u64, ptr = ctypes.c_uint32, ctypes.c_uint64, ctypes.c_void_p


def struct(*fields):
    names = [(f"f{i}", kind) for i, kind in enumerate(fields)]
    return type("Struct", (ctypes.Structure,), {"_fields_": names})


application = struct(u32, ptr, ptr, u32, ptr, u32, u32)(0, None, None, 0, None, 0, (1 << 22) | (1 << 12))
instance_info = struct(u32, ptr, u32, ptr, u32, ptr, u32, ptr)(1, None, 0, ctypes.addressof(application), 0, None, 0, None)
instance, count, device, buffer = ptr(), u32(1), ptr(), u64()
if vk.vkCreateInstance(ctypes.byref(instance_info), None, ctypes.byref(instance)):
    sys.exit(77)
physical = ptr()
if vk.vkEnumeratePhysicalDevices(instance, ctypes.byref(count), ctypes.byref(physical)) < 0 or not count.value:
    sys.exit(77)
priority = ctypes.c_float(1)
queue = struct(u32, ptr, u32, u32, u32, ptr)(2, None, 0, 0, 1, ctypes.addressof(priority))
device_info = struct(u32, ptr, u32, u32, ptr, u32, ptr, u32, ptr, ptr)(3, None, 0, 1, ctypes.addressof(queue), 0, None, 0, None, None)
if vk.vkCreateDevice(physical, ctypes.byref(device_info), None, ctypes.byref(device)):
    sys.exit(77)
buffer_info = struct(u32, ptr, u32, u64, u32, u32, u32, ptr)(12, None, 0, 0, 0x20, 0, 0, None)
vk.vkCreateBuffer(device, ctypes.byref(buffer_info), None, ctypes.byref(buffer))
