/** Whether the API of this version knows participant types as a filter and a breakdown; the build reads its description. */
declare const __PARTICIPANTS__: boolean;
declare module "*.css";
